"""Where the circuits of each quantum method ran, a line for each column that results are kept apart in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qfedfm.quantum.cloud.prices import prices
from qfedfm.report import numbers
from qfedfm.report.rows import Rows, named
from qfedfm.report.study import Study
from qfedfm.report.table import average

WORDS = {
    "exact": "exact",
    "shots": "finite shots",
    "noise": "device noise model",
    "mitigated": "mitigated",
    "device": "device",
}
"""The names of the columns, from the ideal circuit to a device."""


def columns(study: Study) -> Rows:
    """Accuracy beside what the circuits of a run cost: means over the seeds.

    A method whose circuits ran in several columns (a device that was calibrated, say) belongs to the last of them. The
    last two columns are what the same shots would take and cost on a device of IBM's, by the list of prices.
    """
    heads = (
        "method", "circuits ran", "accuracy, %", "circuits a run", "shots a run", "device seconds a run", "bias",
        "on an IBM device, s", "there, $",
    )  # fmt: skip
    return Rows(heads, tuple(_lines(study)), 2)


def devices(study: Study) -> Rows:
    """Trained circuits that were run again on a device: how far its weights of the clients are from the exact ones."""
    heads = ("method", "device", "circuit ran", "seed", "shots", "device seconds", "price, $", "total variation")
    rows = [
        (
            named(study, str(line.get("method"))),
            str(line.get("backend")),
            WORDS.get(str(line.get("column")), numbers.NOTHING),
            str(line.get("seed")),
            numbers.count(line.get("shots")),
            numbers.decimal(line.get("device_seconds"), 1),
            numbers.decimal(line.get("price"), 2),
            numbers.decimal(line.get("total_variation")),
        )
        for line in study.devices
    ]
    return Rows(heads, tuple(rows), 3)


def _lines(study: Study) -> Iterator[tuple[str, ...]]:
    summary = {line["method"]: line for line in study.summary}
    for method in (name for name in study.methods if name in study.quantum):
        runs = [run for run in study.runs if run["method"] == method]
        if runs:
            yield (
                named(study, method),
                WORDS[column_of(runs[0])],
                numbers.with_interval((summary.get(method) or {}).get("accuracy")),
                numbers.count(average(runs, "circuits")),
                numbers.count(average(runs, "shots")),
                numbers.decimal(average(runs, "device_seconds"), 1),
                numbers.decimal(average(runs, "projection_bias")),
                *_elsewhere(average(runs, "shots")),
            )


def _elsewhere(shots: float | None) -> tuple[str, str]:
    """Seconds and dollars of as many shots on a device, without what each job takes besides."""
    price = prices().find("ibm:")
    if price is None or not shots:
        return numbers.NOTHING, numbers.NOTHING
    seconds = shots * price.shot_seconds
    return numbers.decimal(seconds, 1), numbers.decimal(seconds * price.second, 2)


def column_of(run: Mapping[str, Any]) -> str:
    """The column of a run: the last in which one of its circuits ran; files without that count have only two."""
    counted = run.get("circuits_by_column")
    if counted is None:
        return "shots" if run.get("shots") else "exact"
    return max((name for name, circuits in counted.items() if circuits), key=list(WORDS).index, default="exact")
