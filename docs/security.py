"""Fills the table of docs/security.md from committed results: `python docs/security.py`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from qfedfm.report import numbers
from qfedfm.report.table import average

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("security.md")
POLICIES = ("refuse", "wait", "fallback")
HEADS = (
    "`low`", "accuracy, %", "updates per round from 3 on", "key bits", "by fallback", "sessions", "aborted",
    "link time needed", "link time of sessions", "bytes of seals", "bytes of key agreements",
)  # fmt: skip


def row(policy: str) -> tuple[str, ...]:
    """Means over seeds of the committed runs."""
    folder = ROOT / "experiments" / "security" / "results" / policy
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    counts = [len(record["participants"]) for record in map(json.loads, lines) if record["round"] >= 3]
    (line,), runs = results["summary"], results["runs"]
    return (
        f"[`{policy}`](../experiments/security/results/{policy}/report.html)",
        numbers.with_interval(line["accuracy"]),
        numbers.decimal(sum(counts) / len(counts), 1),
        numbers.count(average(runs, "key_bits")),
        numbers.count(average(runs, "fallback_keys")),
        numbers.decimal(average(runs, "link_sessions"), 1),
        numbers.decimal(average(runs, "aborted_sessions"), 1),
        numbers.duration(average(runs, "link_seconds")),
        numbers.duration(average(runs, "session_seconds")),
        numbers.size(average(runs, "seal_bytes")),
        numbers.size(average(runs, "key_bytes")),
    )


def page(text: str) -> str:
    """The page with its table made anew."""
    rows = [HEADS, ("---",) * len(HEADS), *map(row, POLICIES)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    filled = f"<!-- scenario -->\n{table}\n<!-- end -->"
    return re.sub("<!-- scenario -->\n.*?<!-- end -->", lambda _: filled, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
