"""The summary as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qfedfm.report import numbers
from qfedfm.report.look import DIAMOND
from qfedfm.report.study import Study

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("method", "accuracy %", "worst client", "vs twin, points", "seeds", "uplink", "server s")


def table(results: Mapping[str, Any]) -> Table:
    """A line for each method, means over seeds; ◆ marks quantum methods.

    Args:
        results: the contents of ``results.json``.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=f"mean ± half a 95 % interval; {DIAMOND} quantum")
    for column in COLUMNS:
        found.add_column(column, justify="left" if column == "method" else "right", no_wrap=column == "method")
    study = Study(results)
    for line in study.summary:
        found.add_row(*(Text(cell) for cell in row(study, line)), style="bold" if line.get("quantum") else "")
    return found


def row(study: Study, line: Mapping[str, Any]) -> list[str]:
    """The cells of `COLUMNS` for one line of the summary."""
    runs = [run for run in study.runs if run["method"] == line["method"]]
    return [
        f"{DIAMOND} {line['method']}" if line.get("quantum") else str(line["method"]),
        numbers.with_interval(line.get("accuracy")),
        numbers.percent((line.get("worst_client") or {}).get("mean")),
        numbers.difference(line.get("vs_twin")),
        str(line.get("seeds", len(runs))),
        numbers.size(average(runs, "uplink_bytes")),
        numbers.decimal(average(runs, "server_seconds"), 2),
    ]


def average(runs: list[Mapping[str, Any]], name: str) -> float | None:
    """The mean of a field over runs that have it."""
    values = [run[name] for run in runs if numbers.is_number(run.get(name))]
    return sum(values) / len(values) if values else None
