"""Points with intervals: final accuracy, differences to the twin, accuracy of each client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qfedfm.report.curves import finite
from qfedfm.report.look import HOSTILE, INK, MUTED, Look
from qfedfm.report.study import Study
from qfedfm.report.summary import by_seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Comparison = tuple[str, str, str, Mapping[str, Any]]
"""A quantum method, what it is compared with, in which role, and the comparison."""


def comparisons(study: Study) -> list[Comparison]:
    """All paired differences of the study: to the strongest twin, the best classical method, the controls."""
    found: list[Comparison] = []
    for line in study.summary:
        method, twin, best = line["method"], line.get("vs_twin"), line.get("vs_best_classical")
        if twin:
            found.append((method, twin["twin"], "strongest twin", twin))
        if best and not (twin and twin["twin"] == best["other"]):
            found.append((method, best["other"], "best classical", best))
        found += [(method, control["control"], "control", control) for control in line.get("vs_controls") or ()]
    return found


def draw_forest(axes: Axes, study: Study, looks: Mapping[str, Look]) -> None:
    """Paired differences of accuracy with 95 % t-intervals; the small dots are single seeds."""
    rows = comparisons(study)
    axes.axvline(0, color=INK, linewidth=1)
    for row, (method, other, _, found) in enumerate(rows):
        look = looks[method]
        mine, theirs = by_seed(study.runs, method, "accuracy"), by_seed(study.runs, other, "accuracy")
        seeds = [100 * (mine[seed] - theirs[seed]) for seed in sorted(mine.keys() & theirs.keys())]
        axes.plot(seeds, [row + 0.24] * len(seeds), ".", color=MUTED, markersize=4)
        _point(axes, found["difference"], found.get("ci95"), row, look)
    labels = [f"{method} − {other}\n{role}" for method, other, role, _ in rows]
    _rows(axes, labels)
    axes.set_xlabel("difference of accuracy, percentage points")
    reach = max((abs(x) for x in axes.get_xlim()), default=1.0)
    axes.set_xlim(-reach, reach)


def draw_final(axes: Axes, study: Study, looks: Mapping[str, Look]) -> None:
    """Final accuracy of each method with its 95 % t-interval; the small dots are single seeds."""
    finished = [line for line in study.summary if line.get("accuracy")]
    lines = sorted(finished, key=lambda line: -line["accuracy"]["mean"])
    for row, line in enumerate(lines):
        values = [100 * x for x in by_seed(study.runs, line["method"], "accuracy").values()]
        axes.plot(values, [row + 0.24] * len(values), ".", color=MUTED, markersize=4)
        _point(axes, line["accuracy"]["mean"], line["accuracy"]["ci95"], row, looks[line["method"]])
    _rows(axes, [looks[line["method"]].label for line in lines])
    # A t-interval over two or three seeds can reach beyond what an accuracy can be.
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, 0), min(high, 100))
    axes.set_xlabel("final accuracy, %")


def draw_clients(axes: Axes, study: Study, looks: Mapping[str, Look]) -> None:
    """Accuracy of each client after the last round, the mean over seeds; the vertical bar spans the methods."""
    table = client_accuracy(study)
    clients = sorted({client for each in table.values() for client in each}, key=lambda client: (len(client), client))
    always = hostile_clients(study)
    for row, client in enumerate(clients):
        values = [100 * each[client] for each in table.values() if client in each]
        axes.plot([min(values), max(values)], [row, row], color=MUTED, linewidth=0.8, zorder=1)
    for method, each in table.items():
        look, rows = looks[method], [row for row, client in enumerate(clients) if client in each]
        at = [100 * each[clients[row]] for row in rows]
        axes.plot(at, rows, look.marker, color=look.colour, label=look.label, alpha=0.9)
    _rows(axes, [study.client(client) + (" (hostile)" if client in always else "") for client in clients])
    for label, client in zip(axes.get_yticklabels(), clients, strict=True):
        label.set_color(HOSTILE if client in always else INK)
    axes.set_xlabel("accuracy on the client's own test rows, %")


def client_accuracy(study: Study) -> dict[str, dict[str, float]]:
    """For each method the mean accuracy of each client over the seeds, after the last round."""
    found: dict[str, dict[str, float]] = {}
    for method in study.methods:
        last = [trace[-1].get("client_accuracy") or {} for trace in study.traces(method)]
        for client in dict.fromkeys(name for each in last for name in each):
            values = finite([each.get(client) for each in last])
            if values:
                found.setdefault(method, {})[client] = sum(values) / len(values)
    return found


def hostile_clients(study: Study) -> frozenset[str]:
    """The clients that are hostile in every seed; none where they are drawn anew for each seed."""
    drawn = [frozenset(str(client) for client in line.get("hostile") or ()) for line in study.history if line["round"]]
    return frozenset.intersection(*drawn) if drawn and len(set(drawn)) == 1 else frozenset()


def _point(axes: Axes, mean: float, interval: list[float] | None, row: int, look: Look) -> None:
    if interval:
        axes.plot([100 * end for end in interval], [row, row], color=look.colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot([100 * mean], [row], look.marker, color=look.colour, markersize=7)


def _rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
