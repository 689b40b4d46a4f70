"""Links whose units come out of sessions: photons, a test, reconciliation and privacy amplification, or no key.

Both parties of a session are in the process of one key manager, which sends the other one its units under TLS: a link
with the physics of QKD, and not with its security.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from qfedfm.core.errors import KeyShortageError
from qfedfm.qkd.attack import Attack, attack
from qfedfm.qkd.chain import FEWEST, Chain, chain
from qfedfm.qkd.entropy import Entropy, System
from qfedfm.qkd.link import named


class Quantum(BaseModel):
    """How one end's units of a link are made; see `chain` and `attack`.

    Args:
        protocol: ``bb84``, ``decoy-bb84``, ``bbm92`` or ``e91``; ``weak-bb84`` and ``b92`` run and give no key.
        link: fibre and receiver by name, ``lab``, ``metro`` or ``long``.
        distance: km, in place of the link's own.
        pulses: of a session, fixed.
        eavesdropper: ``NAME`` or ``NAME:NUMBER``; ``none`` for nobody.

    Raises:
        ConfigError: an unknown name, a distance that is none, or an eavesdropper who means nothing for the protocol.

    Example:
        >>> Quantum(protocol="bb84", link="lab", distance=10.0).chain.promised.reason is None
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str = "bb84"
    link: str = "metro"
    distance: float | None = None
    pulses: int = Field(10_000_000, ge=FEWEST, le=10**9)
    eavesdropper: str = "none"

    @model_validator(mode="after")
    def _fits(self) -> Quantum:
        _ = self.chain, self.attack
        return self

    @cached_property
    def chain(self) -> Chain:
        """Everything that is set before the first pulse."""
        fibre = named(self.link)
        distance = fibre.distance if self.distance is None else self.distance
        return chain(self.protocol, self.pulses, replace(fibre, distance=distance))

    @cached_property
    def attack(self) -> Attack:
        """Who sits where."""
        return attack(self.eavesdropper, self.protocol)


@dataclass(frozen=True)
class Sessions:
    """Sessions one after the other, each over a channel whose ends hold a fresh initial key.

    Args:
        quantum: how they are run.
        between: names both ends, for messages.
        entropy: of both parties.
    """

    quantum: Quantum
    between: str
    entropy: Entropy = field(default_factory=System)

    def take(self) -> bytes:
        """The key of one session, less as many bits as its authentication used.

        Raises:
            KeyShortageError: the session was aborted, or cost as much as it gave.
        """
        done = self.quantum.chain.run(self.quantum.attack, self.entropy)
        account = done.account
        if account.reason is not None:
            given = f"no key from the link of {self.between}: {account.reason.value} ({account.detail})"
            raise KeyShortageError(given, "a key", "look for whoever disturbs the link, and at its settings")
        if account.net < 8:
            given = f"{account.bits} bits from the link of {self.between}, {account.authentication} of them owed"
            raise KeyShortageError(given, "more than authentication takes", "send more pulses a session")
        net = done.alice[account.authentication :]  # Bob's are equal, but with probability ε_cor
        return np.packbits(net[: len(net) // 8 * 8]).tobytes()
