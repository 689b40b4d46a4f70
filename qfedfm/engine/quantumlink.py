"""``[security] link`` of an experiment: a fibre to every client, the sessions over it, and who listens in from when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from qfedfm.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qfedfm.qkd.attack import Attack
    from qfedfm.qkd.chain import Chain
    from qfedfm.qkd.channel import Channel, Message
    from qfedfm.qkd.entropy import Entropy
    from qfedfm.qkd.link import Link
    from qfedfm.qkd.session import Outcome, Reconciler, Strings
    from qfedfm.qkd.sessions import Ran

_P_Z = 0.7
"""Of the key basis, where the user says nothing."""
_STEP = 0.005
"""Error rates that reconciliation is told are multiples of it, so that few codes serve all sessions."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Eavesdropping(_Model):
    """Who listens in, and where.

    Args:
        name: ``intercept-resend``: measures pulses in Z or X at random and sends on what was seen; QBER share/4.
            ``entangling-probe``: the best individual attack, with QBER (1 − cos(share·π/2))/2.
            ``photon-number-splitting``: keeps photons of pulses with several, on decoy-bb84.
            ``man-in-the-middle``: leaves photons alone and alters every message on the classical channel.
        share: of the pulses, or of the largest angle of the probe; 1 for the two others.
        from_round: the first round in which it happens.
        clients: on whose fibres; None for all.
    """

    name: Literal["intercept-resend", "entangling-probe", "photon-number-splitting", "man-in-the-middle"] = (
        "intercept-resend"
    )
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    from_round: Annotated[int, Field(ge=1, strict=True)] = 1
    clients: tuple[Annotated[int, Field(ge=0, strict=True)], ...] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Eavesdropping:
        if self.share != 1 and self.name not in ("intercept-resend", "entangling-probe"):
            raise ValueError(f"no share beside {self.name}")
        return self

    def on(self, client: int, round_: int) -> bool:
        """Whether that client's fibre is disturbed in that round."""
        return round_ >= self.from_round and (self.clients is None or client in self.clients)

    def build(self, protocol: str) -> Attack:
        """What happens to pulses and messages.

        Raises:
            ConfigError: it means nothing for the protocol.
        """
        from qfedfm.qkd.attack import attack

        numbers = {"intercept-resend": self.share, "entangling-probe": (1 - math.cos(self.share * math.pi / 2)) / 2}
        return attack(f"{self.name}:{numbers[self.name]!r}" if self.name in numbers else self.name, protocol)


class QuantumLink(_Model):
    """A simulated fibre from the server to each client, with a session whenever its store runs short.

    `qfedfm.qkd.chain.chain` plans the sessions: by a proof of variable length where the protocol has one, which for
    ``e91`` it has not. Authentication is from an initial key that the keys pay back. The randomness is the operating
    system's, so that two runs have different keys and, where a session aborts by chance, different rounds.

    Args:
        protocol: ``bb84``, with single photons; ``decoy-bb84``, with laser pulses of three intensities; ``bbm92``, with
            entangled pairs; ``e91``, with pairs and a Bell test.
        base: fibre and receiver by name (`qfedfm.qkd.link.LINKS`).
        distance: km, in place of the base's.
        pulses: of a session.
        pulse_rate: pulses per second.
        p_z: probability of the basis that keys are made of; the other one is tested. ``planned`` for the one that
            promises the longest key; not with e91, whose settings are equally likely.
        reconciliation: ``ldpc`` takes few messages, so that little key goes into authentication; or ``cascade``.
        store: bits that both ends keep at most, a multiple of 8; None for all that sessions give. A small store makes
            every round ask the link anew.
        retries: sessions that are tried once more for a key where ``low = "wait"``.
        eavesdropper: None for nobody.
    """

    protocol: Literal["bb84", "decoy-bb84", "bbm92", "e91"] = "bb84"
    base: Literal["lab", "metro", "long"] = "metro"
    distance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    pulses: Annotated[int, Field(ge=1000, le=10**9, strict=True)] = 1_000_000
    pulse_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e9
    p_z: Annotated[float, Field(gt=0, lt=1)] | Literal["planned"] = _P_Z
    reconciliation: Literal["ldpc", "cascade"] = "ldpc"
    store: Annotated[int, Field(ge=8, multiple_of=8, strict=True)] | None = None
    retries: Annotated[int, Field(ge=1, strict=True)] = 3
    eavesdropper: Eavesdropping | None = None

    @field_validator("protocol", mode="before")
    @classmethod
    def _gives_keys(cls, name: Any) -> Any:
        if name in ("b92", "weak-bb84"):
            from qfedfm.qkd.plans import WITHOUT_PROOF

            raise ValueError(f"a protocol that gives keys ({WITHOUT_PROOF[name]})")
        return name

    @model_validator(mode="after")
    def _fits(self) -> QuantumLink:
        if self.protocol == "e91" and self.p_z != _P_Z:
            raise ValueError("no p_z beside e91, whose settings are equally likely")
        if self.eavesdropper is not None:
            try:
                self.eavesdropper.build(self.protocol)
            except ConfigError:
                given = f"not {self.eavesdropper.name} on {self.protocol}"
                raise ValueError(f"an eavesdropper that means something for the protocol, {given}") from None
        return self

    @property
    def seconds(self) -> float:
        """Of link time that a session takes."""
        return self.pulses / self.pulse_rate

    def fibre(self) -> Link:
        """Fibre and receiver."""
        from qfedfm.qkd.link import named

        base = named(self.base)
        return base if self.distance is None else replace(base, distance=self.distance)

    def build(self) -> Chain:
        """From photons to keys."""
        from qfedfm.qkd.chain import TWO_BASES, chain

        variable = self.protocol in TWO_BASES
        p_z = self.p_z if variable and isinstance(self.p_z, float) else None
        made = chain(self.protocol, self.pulses, self.fibre(), self.reconciliation, variable=variable, p_z=p_z)
        if not variable:  # the cap on what may be told leaves no room for a rounded rate
            return made
        return replace(made, session=replace(made.session, reconciler=_Rounded(made.session.reconciler)))


@dataclass(frozen=True)
class _Rounded:
    """A reconciliation that is told the error rate rounded up."""

    inner: Reconciler

    def reconcile(
        self, alice_bits: np.ndarray, bob_bits: np.ndarray, qber: float, channel: Channel, entropy: Entropy
    ) -> Strings:
        told = min(0.5, max(_STEP, math.ceil(qber / _STEP) * _STEP))
        return self.inner.reconcile(alice_bits, bob_bits, told, channel, entropy)


@dataclass
class Fibres:
    """Runs the sessions of one run of an experiment.

    Args:
        link: as configured.
    """

    link: QuantumLink
    round: int = 0
    """The one under way, which says whether somebody listens in."""

    @cached_property
    def _chain(self) -> Chain:
        return self.link.build()

    def __call__(self, alice: str, bob: str, channel: Channel) -> Outcome:
        """A session between a client and the server."""
        from qfedfm.qkd.entropy import System

        return self._chain.run(self._attack(alice, bob), System(), channel)

    def between(self, alice: str, bob: str) -> Callable[[Message], bytes] | None:
        """Who sits on their classical channel."""
        return self._attack(alice, bob).between

    def _attack(self, alice: str, bob: str) -> Attack:
        from qfedfm.qkd.attack import Attack

        tap = self.link.eavesdropper
        listening = tap is not None and tap.on(client_of(alice, bob), self.round)
        return tap.build(self.link.protocol) if tap is not None and listening else Attack()

    def record(self, ran: Sequence[Ran], before: int, taken: int) -> dict[str, Any]:
        """What a round's record says of the sessions since the first ``before`` ones, and of ``taken`` bits of key.

        ``link_seconds`` is taken / (r · pulse rate), with the net secret bits per pulse r of all sessions so far that
        gave a key.
        """
        new, good = ran[before:], [one.account for one in ran if one.account.net > 0]
        tested = [one.account.qber for one in new if one.account.qber is not None]
        rate = sum(account.net for account in good) / max(1, sum(account.pulses for account in good))
        return {
            "link_sessions": len(new),
            "link_bits": sum(max(0, one.account.net) for one in new),
            "link_bytes": sum(one.bytes for one in new),
            "session_seconds": len(new) * self.link.seconds,
            "link_seconds": taken / (rate * self.link.pulse_rate) if taken else 0.0,
            "qber": float(np.mean(tested)) if tested else None,
            "aborted": [_abort(one) for one in new if one.account.reason is not None],
        }


def _abort(one: Ran) -> dict[str, Any]:
    account = one.account
    reason = "" if account.reason is None else account.reason.value
    return {"client": client_of(one.alice, one.bob), "reason": reason, "detail": account.detail, "qber": account.qber}


def client_of(*parties: str) -> int:
    """The id of the client among the two ends of a fibre."""
    (name,) = (party for party in parties if party.startswith(CLIENT))
    return int(name.removeprefix(CLIENT))


CLIENT = "client-"
"""What a client's name at a source of keys begins with."""
