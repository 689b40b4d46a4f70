"""Accuracy against all bytes that travelled, with the front of the methods that no other beats in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qfedfm.report.look import INK, MUTED, Look
from qfedfm.report.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MB = 1e6
_COUNTED = ("uplink_bytes", "downlink_bytes", "edge_uplink_bytes", "edge_downlink_bytes")


def total_bytes(study: Study, method: str) -> float | None:
    """Bytes up and down of a finished run, the mean over its seeds; None where none has finished.

    Where there are mediators, what they exchange with clients counts as well.
    """
    runs = [run for run in study.runs if run["method"] == method]
    known = [run for run in runs if run.get("uplink_bytes") is not None and run.get("downlink_bytes") is not None]
    sums = [sum(run.get(name) or 0 for name in _COUNTED) for run in known]
    return sum(sums) / len(sums) if sums else None


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points are on the Pareto front, by ascending cost: no other one has at least the value at a lower cost.

    Args:
        points: cost and value of each.

    Example:
        >>> front([(1.0, 0.5), (2.0, 0.4), (3.0, 0.9), (3.0, 0.8)])
        [0, 2]
    """
    found: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: (points[place][0], -points[place][1])):
        if not found or points[place][1] > points[found[-1]][1]:
            found.append(place)
    return found


def costs(study: Study) -> list[tuple[Mapping[str, Any], float]]:
    """The lines of the summary that have an accuracy, each with its bytes."""
    lines = [(line, total_bytes(study, line["method"])) for line in study.summary if line.get("accuracy")]
    return [(line, cost) for line, cost in lines if cost]


def varied(study: Study) -> bool:
    """Whether the methods differ in bytes by more than a tenth, so that the figure says something."""
    found = [cost for _, cost in costs(study)]
    return len(found) > 1 and max(found) > 1.1 * min(found)


def draw_pareto(axes: Axes, study: Study, looks: Mapping[str, Look]) -> None:
    """Final accuracy with its 95 % t-interval against the bytes of all payloads; the line is the front of the means."""
    lines = costs(study)
    points = [(cost / _MB, 100 * line["accuracy"]["mean"]) for line, cost in lines]
    best = front(points)
    along = [points[place] for place in best]
    axes.plot(*zip(*along, strict=True), "-", color=MUTED, linewidth=1, drawstyle="steps-post")
    for place, ((line, _), (cost, accuracy)) in enumerate(zip(lines, points, strict=True)):
        look, interval = looks[line["method"]], line["accuracy"]["ci95"]
        if interval:
            axes.plot([cost, cost], [100 * end for end in interval], color=look.colour, linewidth=1.2, alpha=0.6)
        axes.plot([cost], [accuracy], look.marker, color=look.colour, label=look.label, markersize=6)
        if place in best:
            axes.annotate(look.label, (cost, accuracy), (4, 4), textcoords="offset points", fontsize=7, color=INK)
    axes.set_xscale("log")
    axes.set_xlabel("bytes up and down, MB")
    axes.set_ylabel("final accuracy, %")
