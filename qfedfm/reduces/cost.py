"""What the circuits of a round cost, for the history."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qfedfm.quantum.executor import Outcome


IN_COLUMN = "circuits_"
"""What the history puts before the name of a column to name the count of its circuits."""


@dataclass(frozen=True)
class Cost:
    """Circuits and shots of a round; costs add up.

    Args:
        circuits: executed, by where they ran: ``exact``, ``shots``, ``noise``, ``mitigated`` or ``device``, the columns
            that results are kept apart in.
        shots: taken in all of them.
        device_seconds: that a device took, or would take by an estimate.
        bias: the most that estimates of one run were moved to become probabilities, as total variation.
    """

    circuits: Counter[str] = field(default_factory=Counter)
    shots: int = 0
    device_seconds: float = 0.0
    bias: float = 0.0

    @classmethod
    def of(cls, outcome: Outcome) -> Cost:
        """The cost of what an executor gave."""
        return cls(Counter({outcome.column: outcome.circuits}), outcome.shots, outcome.device_seconds, outcome.bias)

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.circuits + other.circuits,
            self.shots + other.shots,
            self.device_seconds + other.device_seconds,
            max(self.bias, other.bias),
        )

    def diagnostics(self) -> dict[str, float]:
        """Numbers for the history: ``circuits``, ``shots``, ``device_seconds``, and ``circuits_<where>``;
        ``projection_bias`` where something was mitigated.

        The history holds numbers only, so that the name of a column stands in the name of its count.

        Example:
            >>> Cost(Counter({"shots": 3}), 300).diagnostics()
            {'circuits': 3.0, 'shots': 300.0, 'device_seconds': 0.0, 'circuits_shots': 3.0}
        """
        return {
            "circuits": float(self.circuits.total()),
            "shots": float(self.shots),
            "device_seconds": self.device_seconds,
            **{f"{IN_COLUMN}{where}": float(count) for where, count in sorted(self.circuits.items())},
            **({"projection_bias": self.bias} if self.bias or "mitigated" in self.circuits else {}),
        }
