"""All that the keys of one run come from, and what they have cost so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from qfedfm.core.keys import KeySource
from qfedfm.engine.quantumlink import Fibres, QuantumLink

if TYPE_CHECKING:
    from qfedfm.qkd.agreed import AgreedLinks
    from qfedfm.qkd.policy import LowKeys
    from qfedfm.qkd.sessions import SessionLinks

Links = Callable[[str], KeySource]
"""Gives each party, by its name, its end of a source of keys."""


@dataclass(frozen=True)
class Costs:
    """What sources have cost so far.

    Args:
        key_bytes: of all messages of key agreements.
        fallback_keys: that came from the fallback.
        sessions: over simulated fibres.
        link_bits: that became keys there.
        simulation_seconds: that simulating them took.
    """

    key_bytes: int = 0
    fallback_keys: int = 0
    sessions: int = 0
    link_bits: int = 0
    simulation_seconds: float = 0.0


@dataclass
class Sources:
    """Each party's source of keys.

    Args:
        main: where keys come from as long as there are any.
        agreed: the agreements behind it, where there are any.
        fallback: what comes in their place, where the user allows it.
        fibres: the simulated fibres behind it, where there are any.
        drawn: the keys of their sessions.
        low: what happens when there are none.
    """

    main: Links = field(repr=False)
    agreed: AgreedLinks | None = None
    fallback: AgreedLinks | None = None
    fibres: Fibres | None = None
    drawn: SessionLinks | None = None
    low: LowKeys = "refuse"
    _ends: dict[str, KeySource] = field(default_factory=dict, repr=False)

    def end(self, party: str) -> KeySource:
        """The source of one party, always the same."""
        if party not in self._ends:
            self._ends[party] = self._supply(party)
        return self._ends[party]

    def _supply(self, party: str) -> KeySource:
        from qfedfm.qkd.policy import Supply

        fallback = None if self.fallback is None else self.fallback.end(party)
        supply = partial(Supply, self.main(party), self.low, fallback)
        if self.fibres is None:
            return supply()
        link = self.fibres.link  # whose time is that of its pulses, not of this process
        return supply(patience=link.retries * link.seconds, pause=link.seconds, sleep=lambda _: None)

    def begin(self, round_: int) -> None:
        """A round begins."""
        if self.fibres is not None:
            self.fibres.round = round_

    def costs(self) -> Costs:
        """What has been spent so far."""
        agreements = [each for each in (self.agreed, self.fallback) if each is not None]
        return Costs(
            sum(each.exchanged_bytes for each in agreements),
            0 if self.fallback is None else self.fallback.made,
            0 if self.drawn is None else len(self.drawn.ran),
            0 if self.drawn is None else self.drawn.taken,
            0.0 if self.drawn is None else self.drawn.seconds,
        )

    def record(self, before: Costs, seconds: float) -> dict[str, Any]:
        """What a round's record says of the sources.

        Args:
            before: what had been spent when it began.
            seconds: of sealing and opening since then, with the making of keys, from which simulating is taken off.
        """
        now = self.costs()
        simulated = now.simulation_seconds - before.simulation_seconds
        found = {
            "key_bytes": now.key_bytes - before.key_bytes,
            "fallback_keys": now.fallback_keys - before.fallback_keys,
            "seal_seconds": seconds - simulated,
        }
        if self.fibres is None or self.drawn is None:
            return found
        taken = now.link_bits - before.link_bits
        session = self.fibres.record(self.drawn.ran, before.sessions, taken)
        return {**found, **session, "simulation_seconds": simulated}


def sources(
    keys: Literal["classical", "qkd", "hybrid"],
    run: bytes,
    epoch: int,
    links: Links | None,
    link: QuantumLink | None,
    low: LowKeys,
) -> Sources:
    """The sources of one run.

    Args:
        keys: of what kind.
        run: bytes that stand for the run.
        epoch: of the session.
        links: between server and clients; None for simulated ones.
        link: how to simulate them; None for bits of the operating system.
        low: what happens when they have no key.
    """
    if keys == "classical":
        agreed = _agreed(run, epoch, None)
        return Sources(agreed.end, agreed)
    fibres, drawn = None, None
    if links is None and link is not None:
        from qfedfm.qkd.sessions import SessionLinks

        fibres = Fibres(link)
        drawn = SessionLinks(fibres, link.store, between=fibres.between)
        links = drawn.end
    if links is None:
        from qfedfm.qkd.simulated import SimulatedLinks

        links = SimulatedLinks().end
    fallback = _agreed(run, epoch, None) if low == "fallback" else None
    if keys == "qkd":
        return Sources(links, None, fallback, fibres, drawn, low)
    agreed = _agreed(run, epoch, links)
    return Sources(agreed.end, agreed, fallback, fibres, drawn, low)


def _agreed(run: bytes, epoch: int, links: Links | None) -> AgreedLinks:
    """Agreements between server and clients; classical ones without links."""
    from qfedfm.qkd.agreed import AgreedLinks
    from qfedfm.qkd.agreement import Suite

    return AgreedLinks(Suite.CLASSICAL if links is None else Suite.HYBRID, run, epoch, links)
