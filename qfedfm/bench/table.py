"""A benchmark's cases as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def table(report: Mapping[str, Any]) -> Table:
    """A line for each case."""
    from rich.table import Table
    from rich.text import Text

    made = Table("case", "unit", title=report["name"], title_justify="left")
    for heading in ("ours", "peer"):
        made.add_column(heading, justify="right")
    made.add_column("which peer")
    made.add_column("ratio", justify="right")
    for line in report["cases"]:
        colour = "green" if line["ratio"] >= 1 else "yellow"
        numbers = [Text(_number(line[side]), justify="right") for side in ("ours", "peer")]
        ratio = Text(f"{line['ratio']:.2f}×", colour)
        made.add_row(Text(line["case"]), Text(line["unit"]), *numbers, Text(line["peer_name"]), ratio)
    return made


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
