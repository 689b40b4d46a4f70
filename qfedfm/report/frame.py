"""The runs as a data frame, for whoever wants to do their own statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def frame(results: Mapping[str, Any]) -> pandas.DataFrame:
    """One line for each method and seed; the metrics under ``final`` become columns beside the others.

    Args:
        results: the contents of ``results.json``.

    Example:
        >>> frame({"runs": [{"method": "mean", "seed": 1, "final": {"accuracy": 0.5}}]})["accuracy"].item()
        0.5
    """
    import pandas

    rows = [{**(run.get("final") or {}), **run} for run in results.get("runs") or ()]
    table = pandas.DataFrame([{key: row[key] for key in row if key != "final"} for row in rows])
    first = [name for name in ("method", "seed") if name in table.columns]
    return table[[*first, *(name for name in table.columns if name not in first)]]
