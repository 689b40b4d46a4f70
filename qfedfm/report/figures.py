"""The figures of a study: as SVG for the page, and a few of them as one matplotlib figure for a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qfedfm.report.curves import draw_bytes, draw_loss, draw_rounds
from qfedfm.report.dots import client_accuracy, comparisons, draw_clients, draw_final, draw_forest
from qfedfm.report.look import Look, looks
from qfedfm.report.pareto import draw_pareto, varied
from qfedfm.report.study import Line, Study
from qfedfm.report.svg import blank, style, svg
from qfedfm.report.weights import draw_weights, highest, weighted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[Any, Study, Mapping[str, Look]], None]


@dataclass(frozen=True)
class Panel:
    """One figure of the page: its SVG and what it says below."""

    svg: str
    title: str
    caption: str


def forest(study: Study, look: Mapping[str, Look], prefix: str) -> Panel | None:
    """Paired differences, or None where nothing was compared."""
    rows = comparisons(study)
    if not rows:
        return None
    title = "Paired differences of each quantum method"
    caption = "Right of zero the quantum method is better. Bars: 95 % t-interval over seeds. Small dots: single seeds."
    return _panel(draw_forest, study, look, prefix + "forest", 1.0 + 0.46 * len(rows), title, caption, legend=False)


def final(study: Study, look: Mapping[str, Look], prefix: str) -> Panel | None:
    """Final accuracy of all methods, or None while no run has finished."""
    lines = [line for line in study.summary if line.get("accuracy")]
    if not lines:
        return None
    caption = "Bars: 95 % t-interval over seeds, none for a single seed. Small dots: single seeds."
    height = 1.0 + 0.34 * len(lines)
    return _panel(draw_final, study, look, prefix + "final", height, "Final accuracy", caption, legend=False)


def pareto(study: Study, look: Mapping[str, Look], prefix: str) -> Panel | None:
    """Accuracy against all bytes, or None where the methods send about the same."""
    if not varied(study):
        return None
    legend = 0.22 * -(-len(study.methods) // 3)
    title = "Accuracy against all bytes"
    caption = (
        "Bytes of all payloads in both directions, headers and those to and from mediators included; bars: 95 % "
        "t-interval over seeds. The line joins the methods that no other one beats with fewer bytes, by the means."
    )
    return _panel(draw_pareto, study, look, prefix + "pareto", 3.4 + legend, title, caption)


def curves(study: Study, look: Mapping[str, Look], prefix: str) -> list[Panel]:
    """Accuracy by round and by bytes, loss by round, accuracy of each client: those that the history has data for."""
    panels = []
    # Below the axes the legend takes a line for every three methods.
    legend = 0.22 * -(-len(study.methods) // 3)
    if any(line.get("accuracy") is not None for line in study.history):
        band = "Mean over seeds; bands: 95 % t-interval, from three seeds on. Round 0 is the model before training."
        sent = "Against the bytes of all payloads from clients to server, headers included."
        loss = "Mean over seeds; bands as above. A loss that rises while accuracy holds shows overconfidence."
        for draw, name, title, caption in (
            (draw_rounds, "rounds", "Accuracy by round", band),
            (draw_bytes, "bytes", "Accuracy by uplink", sent),
            (draw_loss, "loss", "Loss by round", loss),
        ):
            panels.append(_panel(draw, study, look, prefix + name, 3.2 + legend, title, caption))
    table = client_accuracy(study)
    if table:
        height = 1.0 + 0.27 * len({client for each in table.values() for client in each}) + legend
        caption = "After the last round, mean over seeds; the grey bar spans the methods."
        panels.append(_panel(draw_clients, study, look, prefix + "clients", height, "Accuracy of each client", caption))
    return panels


def weights(study: Study, look: Mapping[str, Look], prefix: str) -> list[Panel]:
    """One small panel for each method that reports client weights, all on one scale."""
    panels = []
    top = 1.05 * highest(study)
    for index, method in enumerate(weighted(study)):
        with style():
            figure = blank(2.9, 2.2)
            axes = figure.add_subplot()
            draw_weights(axes, study, method, look)
            axes.set_ylim(0, top)
            title = f"Client weights by round under {method}"
            panels.append(Panel(svg(figure, f"{prefix}weights-{index}", title), title, ""))
    return panels


def _panel(
    draw: Draw, study: Study, look: Mapping[str, Look], name: str, height: float, title: str, caption: str, *,
    legend: bool = True,
) -> Panel:  # fmt: skip
    with style():
        figure = blank(5.4, height)
        draw(figure.add_subplot(), study, look)
        if legend:
            figure.legend(loc="outside lower center", ncols=min(3, len(study.methods)))
        return Panel(svg(figure, name, f"{title}, {study.name}"), title, caption)


def plot(results: Mapping[str, Any], history: Sequence[Line]) -> Figure:
    """Accuracy by round, in the end and by uplink, and paired differences, for a notebook: what there is of it.

    Args:
        results: the contents of ``results.json``.
        history: the lines of ``history.jsonl``.
    """
    study = Study(results, history)
    look = looks([study])
    draws: list[tuple[Draw, str]] = [(draw_rounds, "accuracy by round")]
    if any(line.get("accuracy") for line in study.summary):
        draws.append((draw_final, "final accuracy"))
    draws.append((draw_bytes, "accuracy by uplink"))
    if comparisons(study):
        draws.append((draw_forest, "paired differences"))
    with style(**{"figure.facecolor": "white"}):
        figure = blank(11.0, 7.5)
        for place, (draw, title) in enumerate(draws, 1):
            axes = figure.add_subplot(2, 2, place)
            draw(axes, study, look)
            axes.set_title(title, loc="left", fontweight="bold")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6)
    return figure
