"""Keys and seals as tables: what protected a run, what it cost, and which links were disturbed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qfedfm.report import numbers
from qfedfm.report.rows import Rows, named, shortened
from qfedfm.report.study import Study
from qfedfm.report.table import average


def costs(study: Study) -> Rows:
    """A line for each method whose runs had keys: means over its finished runs."""
    heads = (
        "method", "keys", "key bits", "at most", "keys by fallback", "link time needed", "link time of sessions",
        "sessions", "aborted", "bytes of seals", "bytes of key agreements", "bytes of sessions", "seal s",
    )  # fmt: skip
    protected = {run["method"]: run["keys"] for run in study.runs if run.get("keys")}
    return Rows(heads, tuple(_costs(study, method, keys) for method, keys in protected.items()), 2)


def _costs(study: Study, method: str, keys: str) -> tuple[str, ...]:
    runs = [run for run in study.runs if run["method"] == method]
    return (
        named(study, method),
        keys,
        numbers.count(average(runs, "key_bits")),
        numbers.count(average(runs, "predicted_key_bits")),
        numbers.count(average(runs, "fallback_keys")),
        numbers.duration(average(runs, "link_seconds")),
        numbers.duration(average(runs, "session_seconds")),
        numbers.count(average(runs, "link_sessions")),
        numbers.count(average(runs, "aborted_sessions")),
        numbers.size(average(runs, "seal_bytes")),
        numbers.size(average(runs, "key_bytes")),
        numbers.size(average(runs, "link_bytes")),
        numbers.decimal(average(runs, "seal_seconds"), 3),
    )


def aborted(study: Study) -> Rows:
    """Sessions of links that gave no key, gathered by method, client and reason."""
    found: dict[tuple[str, str, str], list[tuple[Mapping[str, Any], Any]]] = {}
    for line in study.history:
        for session in line.get("aborted") or ():
            key = (line["method"], study.client(session.get("client", "")), str(session.get("reason", "")))
            found.setdefault(key, []).append((line, session.get("qber")))
    rows = []
    for (method, client, reason), each in found.items():
        rounds = list(dict.fromkeys(f"{line['round']} (seed {line['seed']})" for line, _ in each))
        rates = [rate for _, rate in each if numbers.is_number(rate)]
        qber = sum(rates) / len(rates) if rates else None
        cells = (named(study, method), client, reason, shortened(rounds), numbers.percent(qber), str(len(each)))
        rows.append(cells)
    return Rows(("method", "client", "reason", "rounds", "QBER, %", "sessions"), tuple(rows), 4)
