"""Accuracy as training goes on: by round and by bytes sent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from qfedfm.report.look import Look
from qfedfm.report.statistics import Estimate, estimate
from qfedfm.report.study import Line, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEGABYTE = 1e6


def finite(values: Sequence[object]) -> list[float]:
    """Those of the values that are finite numbers."""
    return [float(x) for x in values if isinstance(x, int | float) and math.isfinite(x)]


def by_round(traces: Sequence[Sequence[Line]], metric: str) -> dict[int, Estimate]:
    """A metric's mean and interval over the seeds, for each round in which one seed has it."""
    found: dict[int, list[object]] = {}
    for line in itertools.chain.from_iterable(traces):
        found.setdefault(line["round"], []).append(line.get(metric))
    return {number: estimate(finite(found[number])) for number in sorted(found) if finite(found[number])}


def uplink(traces: Sequence[Sequence[Line]]) -> dict[int, float]:
    """Megabytes that the clients have sent up to the end of each round, the mean over the seeds."""
    found: dict[int, list[float]] = {}
    for trace in traces:
        total = 0.0
        for line in trace:
            total += line.get("uplink_bytes") or 0
            found.setdefault(line["round"], []).append(total / MEGABYTE)
    return {number: sum(sent) / len(sent) for number, sent in found.items()}


def draw_rounds(axes: Axes, study: Study, looks: Mapping[str, Look]) -> None:
    """Mean accuracy by round with the 95 % t-interval over seeds."""
    _draw(axes, study, looks, "accuracy", 100.0)
    _label(axes, "accuracy, %")


def draw_loss(axes: Axes, study: Study, looks: Mapping[str, Look]) -> None:
    """Mean loss on the test rows by round with the 95 % t-interval over seeds."""
    _draw(axes, study, looks, "loss", 1.0)
    _label(axes, "loss on the test rows")


def draw_bytes(axes: Axes, study: Study, looks: Mapping[str, Look]) -> None:
    """Mean accuracy by the megabytes that all clients have sent."""
    _draw(axes, study, looks, "accuracy", 100.0, by_bytes=True)
    axes.set_xlabel("sent by all clients, MB")
    axes.set_ylabel("accuracy, %")


def _label(axes: Axes, quantity: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("round")
    axes.set_ylabel(quantity)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw(
    axes: Axes, study: Study, looks: Mapping[str, Look], metric: str, scale: float, *, by_bytes: bool = False
) -> None:
    seen: list[float] = []
    for method in study.methods:
        traces = list(study.traces(method))
        sent = uplink(traces)
        means = by_round(traces, metric)
        at = [sent[number] if by_bytes else float(number) for number in means]
        look, mean = looks[method], [scale * each.mean for each in means.values()]
        axes.plot(at, mean, color=look.colour, linestyle=look.dash, marker=look.marker, label=look.label)
        # The interval of two seeds is thirteen standard errors wide to each side: it would paint over everything.
        bands = [each.interval if each.n > 2 else None for each in means.values()]
        ends = [
            scale * end for band, each in zip(bands, means.values(), strict=True) for end in band or 2 * (each.mean,)
        ]
        axes.fill_between(at, ends[::2], ends[1::2], color=look.colour, alpha=0.12, linewidth=0)
        seen += [scale * x for x in finite([line.get(metric) for trace in traces for line in trace])]
    if seen:
        # With few seeds an interval can be wider than the whole of the data: the view is of the data.
        margin = 0.08 * (max(seen) - min(seen)) + 0.005 * scale
        axes.set_ylim(min(seen) - margin, max(seen) + margin)
