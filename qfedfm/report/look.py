"""One colour, line and marker for each method through all figures; quantum methods carry a diamond."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from qfedfm.report.study import Study

PALETTE = (
    ("#d55e00", "#ff924c"),
    ("#0072b2", "#4f9fe8"),
    ("#009e73", "#2fcfa0"),
    ("#b0508a", "#e79bc5"),
    ("#43a4de", "#a8ddff"),
    ("#5b6670", "#b4c0cc"),
)
"""Colours on light and on dark paper: those of Okabe & Ito (2008), some darkened so that they show on white."""
INK, RULE, MUTED, HOSTILE, PAPER = "#1c2126", "#d9dee3", "#7c8791", "#b3261e", "#ffffff"
VARIABLES = {
    INK: ("ink", "#e8ecef"),
    RULE: ("rule", "#39424b"),
    MUTED: ("muted", "#98a4af"),
    HOSTILE: ("hostile", "#ff7d72"),
    PAPER: ("card", "#1b2127"),
    **{light: (f"c{index}", dark) for index, (light, dark) in enumerate(PALETTE)},
}
"""For each colour of the figures the name of its CSS variable and its value on dark paper."""
_DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
_MARKERS = "osv^Phd*X"
DIAMOND = "◆"


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Args:
        label: its name, with the diamond if it is quantum.
        colour: on light paper; `VARIABLES` gives the other.
        dash: a matplotlib line style; it changes once the colours are used up.
        marker: a matplotlib marker, a diamond for quantum methods.
        quantum: whether a circuit runs inside.
    """

    label: str
    colour: str
    dash: str | tuple[int, tuple[float, ...]]
    marker: str
    quantum: bool

    @property
    def variable(self) -> str:
        """The name of its CSS variable."""
        return VARIABLES[self.colour][0]


def looks(studies: Iterable[Study]) -> dict[str, Look]:
    """The look of every method of all studies: the quantum ones first, so that they get the strongest colours."""
    studies = list(studies)
    quantum = {method for study in studies for method in study.quantum}
    names = dict.fromkeys(method for study in studies for method in study.methods)
    ordered = sorted(names, key=lambda method: method not in quantum)
    markers = itertools.cycle(_MARKERS)
    found = {}
    for index, method in enumerate(ordered):
        is_quantum = method in quantum
        found[method] = Look(
            f"{DIAMOND} {method}" if is_quantum else method,
            PALETTE[index % len(PALETTE)][0],
            _DASHES[index // len(PALETTE) % len(_DASHES)],
            "D" if is_quantum else next(markers),
            is_quantum,
        )
    return found
