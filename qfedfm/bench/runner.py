"""Runs the sides of a case in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qfedfm.bench.process import Side, run

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Runner:
    """How thoroughly a benchmark is run.

    Args:
        quick: whether a name may take two minutes at most.
        repetitions: how often each side is run.
        say: told what is being run.
        play: runs a side; replaced in tests.
    """

    quick: bool = False
    repetitions: int = 3
    say: Say = silent
    play: Callable[[Side], Mapping[str, Any]] = field(default=run)

    def measure(self, sides: Sequence[Side], repetitions: int | None = None) -> dict[str, list[Mapping[str, Any]]]:
        """Every side in a fresh process, in turns (A B C A B C …), so that a busy minute of the machine hits them all.

        Returns:
            The answers of each side by its name.
        """
        found: dict[str, list[Mapping[str, Any]]] = {side.name: [] for side in sides}
        total = repetitions or self.repetitions
        for turn in range(1, total + 1):
            for side in sides:
                self.say(f"{side.name}, {turn} of {total}")
                found[side.name].append(self.play(side))
        return found
