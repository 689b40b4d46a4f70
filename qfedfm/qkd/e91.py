"""E91: entangled pairs, from some settings a key, from others a test of Bell's inequality."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qfedfm.qkd.chsh import Chsh, chsh, joint_counts
from qfedfm.qkd.eavesdroppers import Eavesdropper
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange, Half
from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import Analysers, PairSource, distribute

ANALYSERS = Analysers(alice=(0, 1, 2), bob=(1, 2, 3), shares=(1 / 3, 1 / 3, 1 / 3))
"""Polarisation angles of 0, π/8 and π/4 for Alice, π/8, π/4 and 3π/8 for Bob."""
KEY_SETTINGS = ((1, 0), (2, 1))
"""Alice's and Bob's settings at equal angles, whose bits are equal: the key."""
CHSH_SETTINGS = (0, 2)
"""The settings of either party that S is made of, first and second."""


@dataclass(frozen=True)
class E91:
    """Three settings on either side, at random; ``basis`` of a half is the number of the setting.

    Two of the nine pairs of settings give the key (`KEY_SETTINGS`), four the test: S = E₀₀ − E₀₂ + E₂₀ + E₂₂
    (`e91_chsh`) with E(α, β) = V(1 − 2e)² cos(α − β), V the source's visibility, e the misalignment of either receiver,
    α and β on the Bloch sphere. That is S = 2√2(1 − 2Q), Q the error rate of the key (`werner_chsh`).

    Args:
        source: of the pairs.

    Source: Ekert, PRL 67, 661 (1991).

    Differs from the paper: |Φ⁺⟩ in place of the singlet, so that equal angles give equal bits and S is positive.

    Example:
        >>> from qfedfm.qkd.eavesdroppers import Nobody
        >>> from qfedfm.qkd.entropy import System
        >>> exchange = E91().exchange(100_000, Link(), Nobody(), System())
        >>> found = e91_chsh(exchange.alice, exchange.bob)
        >>> found.value - 5 * found.error > 2
        True
    """

    source: PairSource = field(default_factory=PairSource)

    def exchange(self, pulses: int, link: Link, eavesdropper: Eavesdropper, entropy: Entropy) -> Exchange:
        """The quantum phase; see `distribute`, which it raises from as well."""
        return distribute(pulses, self.source, ANALYSERS, link, eavesdropper, entropy)


def e91_chsh(alice: Half, bob: Half) -> Chsh:
    """S of the coincidences at `CHSH_SETTINGS`.

    Args:
        alice: her half, or what she has told of it.
        bob: his, or what he has told of it.
    """
    chosen = list(CHSH_SETTINGS)
    return chsh(joint_counts(alice, bob, (3, 3))[np.ix_(chosen, chosen)])
