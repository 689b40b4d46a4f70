"""BBM92: BB84 with entangled pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

from qfedfm.qkd.eavesdroppers import Eavesdropper
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import Analysers, PairSource, distribute


@dataclass(frozen=True)
class BBM92:
    """Both parties measure in Z (basis 0) or X (basis 1); in equal bases their bits are equal.

    With one pair a pulse and no noise p_z² + (1 − p_z)² of the coincidences are in equal bases. Their error rate is
    (1 − V(1 − 2e)²)/2, V the source's visibility and e the misalignment of either receiver.

    Args:
        p_z: probability with which each party chooses Z.
        source: of the pairs.

    Raises:
        ConfigError: p_z is not between 0 and 1, both excluded.

    Source: Bennett, Brassard & Mermin, PRL 68, 557 (1992); bases of unequal probability: Lo, Chau & Ardehali, arXiv
    quant-ph/0011056.

    Differs from the paper: |Φ⁺⟩ in place of the singlet, so that nobody has to invert bits.

    Example:
        >>> from qfedfm.qkd.chsh import joint_counts
        >>> from qfedfm.qkd.eavesdroppers import Nobody
        >>> from qfedfm.qkd.entropy import System
        >>> ideal = BBM92(source=PairSource(mean_pairs=None, visibility=1.0))
        >>> exchange = ideal.exchange(100, Link(), Nobody(), System())
        >>> counts = joint_counts(exchange.alice, exchange.bob, (2, 2))
        >>> int(counts[0, 0, 0, 1] + counts[0, 0, 1, 0])
        0
    """

    p_z: float = 0.5
    source: PairSource = field(default_factory=PairSource)

    def __post_init__(self) -> None:
        self.analysers  # noqa: B018 (refuses what is no probability)

    @property
    def analysers(self) -> Analysers:
        """Z and X, on both sides."""
        return Analysers((0, 2), (0, 2), (self.p_z, 1 - self.p_z))

    def exchange(self, pulses: int, link: Link, eavesdropper: Eavesdropper, entropy: Entropy) -> Exchange:
        """The quantum phase; see `distribute`, which it raises from as well."""
        return distribute(pulses, self.source, self.analysers, link, eavesdropper, entropy)
