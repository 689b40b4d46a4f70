"""One colour, line and marker for each method through all figures; quantum methods carry a diamond."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qfedfm.report.study import Study

PALETTE = (
    ("#d55e00", "#ff924c"),
    ("#093f7e", "#008fff"),
    ("#6bac79", "#a3ffbc"),
    ("#b182af", "#a482c0"),
    ("#0094f4", "#9ffaff"),
    ("#00464a", "#958d82"),
)
"""Colours on light and on dark paper: hues of Okabe & Ito (2008), moved until any two differ by more than 30 in CIELAB
for normal sight, protanopes and deuteranopes.
"""
INK, RULE, MUTED, HOSTILE = "#1c2126", "#d9dee3", "#7c8791", "#b3261e"
PAPER, BLACK = "#ffffff", "#000000"
VARIABLES = {
    INK: ("ink", "#e8ecef"),
    RULE: ("rule", "#39424b"),
    MUTED: ("muted", "#98a4af"),
    HOSTILE: ("hostile", "#ff7d72"),
    PAPER: ("card", "#1b2127"),
    BLACK: ("black", "#e8ecef"),
    **{light: (f"c{index}", dark) for index, (light, dark) in enumerate(PALETTE)},
}
"""For each colour of the figures the name of its CSS variable and its value on dark paper."""
Dash = str | tuple[int, tuple[float, ...]]
_DASHES: tuple[Dash, ...] = ("solid", (0, (4.0, 1.5)), (0, (1.0, 1.2)), (0, (5.0, 1.2, 1.0, 1.2)))
_MARKERS = "osv^Phd*X"
_OWN = 3
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
    dash: Dash
    marker: str
    quantum: bool

    @property
    def variable(self) -> str:
        """The name of its CSS variable."""
        return VARIABLES[self.colour][0]


def looks(studies: Iterable[Study]) -> dict[str, Look]:
    """The look of every method of all studies: quantum methods first, with colours of their own, and controls last."""
    studies = list(studies)
    quantum = {method for study in studies for method in study.quantum}
    controls = {run["method"] for study in studies for run in study.runs if run.get("control_of")}
    names = dict.fromkeys(method for study in studies for method in study.methods)
    ordered = sorted(names, key=lambda method: (method in controls, method not in quantum))
    leading = [method for method in ordered if method in quantum - controls]
    own = min(len(leading), _OWN)
    styles = [*_cycle(PALETTE[:own], len(leading)), *_cycle(PALETTE[own:], len(ordered) - len(leading))]
    markers = itertools.cycle(_MARKERS)
    found = {}
    for method, (colour, dash) in zip(ordered, styles, strict=True):
        label, marker = (f"{DIAMOND} {method}", "D") if method in quantum else (method, next(markers))
        found[method] = Look(label, colour, dash, marker, method in quantum)
    return found


def _cycle(palette: Sequence[tuple[str, str]], count: int) -> list[tuple[str, Dash]]:
    return [(palette[i % len(palette)][0], _DASHES[i // len(palette) % len(_DASHES)]) for i in range(count)]
