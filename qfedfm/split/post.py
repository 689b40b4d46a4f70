"""The post of one round: every payload is framed, counted as it is sent, and checked as it is opened."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qfedfm.core import wire
from qfedfm.core.layout import Layout

Hop = Literal["edge", "core"]
"""``edge`` lies between clients and their mediator, ``core`` between mediators (in the census: clients) and server."""
Kind = Literal["counts", "models", "features", "gradients"]
Traffic = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Bytes by hop, direction (``up``, ``down``) and kind."""
_DIRECTIONS = {wire.UP: "up", wire.DOWN: "down"}


@dataclass(frozen=True)
class Letter:
    """What is in a payload, and where it travels.

    Args:
        hop: the way.
        direction: ``wire.UP`` or ``wire.DOWN``.
        kind: the content.
        layout: of the content: of one row's features, of the shallow part, of the labels' counts.
    """

    hop: Hop
    direction: int
    kind: Kind
    layout: Layout

    @property
    def stack(self) -> bytes:
        """Eight bytes that stand for hop and kind, so that no payload is read as another."""
        return hashlib.sha256(f"split/{self.hop}/{self.kind}".encode()).digest()[:8]


class Post:
    """Carries the payloads of one round.

    Args:
        epoch: how often the run was resumed.
        round_: the round.
    """

    def __init__(self, epoch: int, round_: int) -> None:
        self._epoch, self._round = epoch, round_
        self._sent: Counter[tuple[str, str, str]] = Counter()

    def seal(self, letter: Letter, who: int, body: bytes, samples: int = 0, copies: int = 1) -> bytes:
        """The payload from or to ``who``: a client on the edge and in the census, else a mediator, or everyone.

        A broadcast is counted once for each of those who get a copy of it.
        """
        payload = wire.frame(body, self._frame(letter, who, samples))
        self._sent[letter.hop, _DIRECTIONS[letter.direction], letter.kind] += copies * len(payload)
        return payload

    def open(self, letter: Letter, who: int, payload: bytes, largest: int) -> tuple[memoryview, int]:
        """The body and the rows that it claims.

        Raises:
            PayloadError: see `qfedfm.core.wire.unframe`.
        """
        return wire.unframe(payload, self._frame(letter, who, 0), largest)

    def _frame(self, letter: Letter, who: int, samples: int) -> wire.Frame:
        return wire.Frame(self._epoch, self._round, who, letter.layout.digest, letter.stack, letter.direction, samples)

    @property
    def traffic(self) -> Traffic:
        """All bytes so far, headers included."""
        found: dict[str, dict[str, dict[str, int]]] = {"edge": {"up": {}, "down": {}}, "core": {"up": {}, "down": {}}}
        for (hop, direction, kind), length in sorted(self._sent.items()):
            found[hop][direction][kind] = length
        return found


def total(traffic: Traffic, hop: Hop, direction: str) -> int:
    """Bytes of one hop in one direction."""
    return sum(traffic[hop][direction].values())
