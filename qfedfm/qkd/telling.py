"""How much a reconciliation will tell, as it has to be known before the first pulse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.qkd.cascade import Cascade
from qfedfm.qkd.entropies import entropy_of_errors
from qfedfm.qkd.ldpc import LDPC
from qfedfm.qkd.ldpc_codes import COLUMNS
from qfedfm.qkd.session import Reconciler

_CASCADE: Mapping[str, float] = MappingProxyType({"original": 1.22, "reuse": 1.10})
"""Efficiency of a variant in the worst of many runs, for frames of 100,000 bits."""
_FEW = 100
_CHATTY = 500_000
"""Errors' entropy, bits, from which `reuse` saves more by telling less than its thousand messages cost in tags."""
_CLEAN = 0.012
"""Error rate below which the codes of `LDPC`, made for more errors, ask for more rows, as a single short frame does."""


@dataclass(frozen=True)
class Telling:
    """A reconciliation by name, ``cascade`` or ``ldpc``, and its cap on what is told.

    Messages are authenticated one by one, so that Cascade's thousand short ones may cost more key than they save: for
    few errors it is the original one, whose questions come all at once.

    Args:
        name: of the reconciliation.

    Raises:
        ConfigError: there is none of that name.

    Example:
        >>> Telling("ldpc").most(100_000, 0.02, both=False) < 1.2 * 100_000 * entropy_of_errors(0.02)
        True
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in ("cascade", "ldpc"):
            raise ConfigError(
                f"reconciliation {self.name!r}", "cascade or ldpc", nearest(self.name, ("cascade", "ldpc"))
            )

    def reconciler(self, bits: int, rate: float) -> Reconciler:
        """For so many bits with that error rate."""
        return LDPC() if self.name == "ldpc" else Cascade(self._variant(bits, rate))

    def most(self, bits: int, rate: float, *, both: bool) -> int:
        """Bits told about the key unless something is wrong.

        Args:
            bits: of the key.
            rate: of errors, at most.
            both: whether what Bob tells counts as well.
        """
        if bits < 1:
            return 0
        least = bits * entropy_of_errors(rate)
        if self.name == "ldpc":
            return min(math.ceil(self._ldpc(bits, rate, least)), bits + _FEW)
        efficiency = _CASCADE[self._variant(bits, rate)]
        return (1 + both) * math.ceil(efficiency * least + _FEW)

    def _variant(self, bits: int, rate: float) -> str:
        return "reuse" if bits * entropy_of_errors(rate) > _CHATTY else "original"

    @staticmethod
    def _ldpc(bits: int, rate: float, least: float) -> float:
        """The first try of `LDPC`, rows for later ones, and Bob's answers."""
        first, q = LDPC(), min(max(rate, 1e-4), 0.49)
        frames = max(1, bits // first.frame)
        spread = math.sqrt(bits * frames * q * (1 - q)) * math.log2((1 - q) / q)
        rows = 6 if rate < _CLEAN or bits < first.frame else 2
        floor = 8 * bits / COLUMNS
        return max(first.efficiency * least + first.deviations * spread, floor) + rows * bits / COLUMNS + _FEW
