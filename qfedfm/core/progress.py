"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """A step of a run that has just been taken.

    Args:
        stage: ``prepare``, ``warning``, ``tune``, ``round`` or ``report``.
        method: the method, or "".
        seed: the seed, or None.
        done: rounds finished in the whole run, trials of the tuning included.
        total: rounds that the whole run has.
        record: the history record of a round, or empty.
        rate: client-steps per second in this session so far, or None; what runs share counts for each of them.
        left: seconds until the last round at the pace of this session, or None.
        note: what a warning says.
    """

    stage: str
    method: str = ""
    seed: int | None = None
    done: int = 0
    total: int = 0
    record: Mapping[str, Any] | None = None
    rate: float | None = None
    left: float | None = None
    note: str = ""


Watch = Callable[[Event], None]


def silent(event: Event) -> None:
    """Watches nothing."""
