"""What share each client has in the aggregate, round by round: do hostile clients lose theirs?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qfedfm.report.curves import finite
from qfedfm.report.look import HOSTILE, INK, MUTED, Look
from qfedfm.report.study import Line, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Path = dict[int, float]
"""A weight for each round."""


def weighted(study: Study) -> list[str]:
    """The methods that report client weights."""
    return [m for m in study.methods if any(_weights(line) for trace in study.traces(m) for line in trace)]


def highest(study: Study) -> float:
    """The largest weight of any client in any method, so that all panels can have one scale."""
    weights = [w for line in study.history for w in _weights(line).values()]
    return max(weights, default=1.0)


def draw_weights(axes: Axes, study: Study, method: str, looks: Mapping[str, Look]) -> None:
    """One method: thin lines are single clients and seeds, thick lines the means of honest and hostile clients."""
    from matplotlib.ticker import MaxNLocator

    honest, hostile = paths(list(study.traces(method)))
    for group, colour, label, marker in ((honest, MUTED, "honest", "o"), (hostile, HOSTILE, "hostile", "x")):
        for path in group:
            axes.plot(list(path), list(path.values()), color=colour, linewidth=0.6, alpha=0.3)
        means = mean_path(group)
        if means:
            ink = INK if label == "honest" else colour
            axes.plot(list(means), list(means.values()), color=ink, linewidth=2, marker=marker, label=label)
    axes.set_title(looks[method].label, loc="left", fontweight="bold")
    axes.set_xlabel("round")
    axes.set_ylabel("weight")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def paths(traces: Sequence[Sequence[Line]]) -> tuple[list[Path], list[Path]]:
    """The weights by round of every honest and of every hostile client of every seed."""
    groups: tuple[list[Path], list[Path]] = ([], [])
    for trace in traces:
        found: dict[str, Path] = {}
        for line in trace:
            for client, weight in _weights(line).items():
                found.setdefault(client, {})[line["round"]] = weight
        bad = {str(client) for line in trace for client in line.get("hostile") or ()}
        for client, path in found.items():
            groups[client in bad].append(path)
    return groups


def mean_path(group: Sequence[Path]) -> Path:
    """The mean over the clients that took part, for each round."""
    rounds = sorted({number for path in group for number in path})
    present = {number: [path[number] for path in group if number in path] for number in rounds}
    return {number: sum(weights) / len(weights) for number, weights in present.items()}


def _weights(line: Line) -> dict[str, float]:
    return {client: float(x) for client, x in (line.get("client_weights") or {}).items() if finite([x])}
