"""A finished run, as a notebook uses it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qfedfm.report.page import write_report
from qfedfm.report.read import read_run

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
    from rich.table import Table


@dataclass(frozen=True)
class Result:
    """The folder of a run and what it says.

    Args:
        folder: where ``results.json`` and ``history.jsonl`` lie.
    """

    folder: Path

    @cached_property
    def results(self) -> dict[str, Any]:
        """``results.json``."""
        return read_run(self.folder)[0]

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """``history.jsonl``, a line a round."""
        return read_run(self.folder)[1]

    @property
    def conclusion(self) -> str:
        """What the comparison found, in plain sentences."""
        return " ".join(self.results["conclusion"])

    def frame(self) -> pandas.DataFrame:
        """One line for each method and seed."""
        from qfedfm.report.frame import frame

        return frame(self.results)

    def table(self) -> Table:
        """The summary for a terminal."""
        from qfedfm.report.table import table

        return table(self.results)

    def plot(self) -> Figure:
        """Accuracy by round and the paired differences."""
        from qfedfm.report.figures import plot

        return plot(self.results, self.history)

    def write_report(self) -> Path:
        """Writes ``report.html`` and gives its path."""
        return write_report(self.folder)
