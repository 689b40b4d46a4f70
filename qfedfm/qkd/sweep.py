"""A chain over several distances: what it promises at each, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from qfedfm.qkd.attack import attack
from qfedfm.qkd.chain import Chain, chain
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.link import Link
from qfedfm.qkd.session import Account


@dataclass(frozen=True)
class Setting:
    """What is the same at all distances; see `chain` and `attack`.

    Args:
        protocol: by name.
        link: whose distance is replaced.
        pulses: at each distance.
        eavesdropper: by name.
        reconciliation: by name.
        variable: whether the length follows from what is seen.
    """

    protocol: str
    link: Link
    pulses: int
    eavesdropper: str = "none"
    reconciliation: str = "ldpc"
    variable: bool = False

    def at(self, distance: float) -> Chain:
        """The chain over that many km."""
        there = replace(self.link, distance=distance)
        return chain(self.protocol, self.pulses, there, self.reconciliation, variable=self.variable)

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Point:
    """A distance.

    Args:
        chain: planned for it.
        account: of the run; None where nothing was simulated.
    """

    chain: Chain
    account: Account | None

    @property
    def rate(self) -> float:
        """Secret bits a pulse after authentication; negative where that cost more than there was."""
        return self.account.net / self.account.pulses if self.account is not None else 0.0

    def facts(self) -> dict[str, Any]:
        """For JSON; an account holds no key."""
        promised, seen = self.chain.promised, self.account
        run: dict[str, Any] | None = None
        if seen is not None:
            reason = None if seen.reason is None else seen.reason.value
            run = {**asdict(seen), "reason": reason, "qber": seen.qber, "net": seen.net, "rate": self.rate}
        return {
            "distance": self.chain.link.distance,
            "proof": self.chain.plan.proof.name,
            "promised_bits": promised.bits,
            "promised_rate": self.chain.promised_rate,
            "asymptotic_rate": self.chain.plan.asymptotic,
            "run": run,
        }


def sweep(
    setting: Setting, distances: Sequence[float] | None, entropy: Entropy | None, told: Callable[[float], None]
) -> list[Point]:
    """A point for each distance, in that order; the keys are thrown away.

    Args:
        setting: of all.
        distances: km; None for the link's own.
        entropy: of all runs; None to simulate nothing.
        told: hears each distance before it is run.

    Raises:
        ConfigError: the setting or a distance is not valid; found before anything is run.
    """
    chains = [setting.at(distance) for distance in distances or [setting.link.distance]]
    who, points = attack(setting.eavesdropper, setting.protocol), []
    for each in chains:
        told(each.link.distance)
        points.append(Point(each, None if entropy is None else each.run(who, entropy).account))
    return points
