"""The tables of the page as plain rows: a heading, and cells that are text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qfedfm.report import numbers
from qfedfm.report.look import DIAMOND
from qfedfm.report.study import Study
from qfedfm.report.table import average


@dataclass(frozen=True)
class Rows:
    """A table: ``text`` is the number of columns at the left that are words; the others are numbers."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: int = 1


def methods(study: Study) -> Rows:
    """A line for each method: means over its finished runs."""
    heads = (
        "method", "accuracy, %", "vs strongest twin, points", "could have seen", "macro F1, %", "worst client, %",
        "loss", "seeds", "uplink", "server s", "training s", "reduce parameters", "validation data",
    )  # fmt: skip
    return Rows(heads, tuple(_method(study, line) for line in study.summary))


def _method(study: Study, line: Mapping[str, Any]) -> tuple[str, ...]:
    runs = [run for run in study.runs if run["method"] == line["method"]]
    twin = line.get("vs_twin") or {}
    return (
        named(study, line["method"]),
        numbers.with_interval(line.get("accuracy")),
        numbers.difference(twin),
        numbers.percent(twin.get("detectable")),
        numbers.percent((line.get("macro_f1") or {}).get("mean")),
        numbers.percent((line.get("worst_client") or {}).get("mean")),
        numbers.decimal((line.get("loss") or {}).get("mean")),
        str(line.get("seeds", len(runs))),
        numbers.size(average(runs, "uplink_bytes")),
        numbers.decimal(average(runs, "server_seconds"), 2),
        numbers.decimal(average(runs, "train_seconds"), 1),
        numbers.count(average(runs, "reduce_parameters")),
        "yes" if any(run.get("sees_validation") for run in runs) else "no",
    )


def runs(study: Study) -> Rows:
    """A line for each finished run."""
    heads = (
        "method", "seed", "accuracy, %", "loss", "macro F1, %", "worst client, %", "spread", "uplink", "downlink",
        "server s", "training s", "circuits", "shots", "trainable parameters", "refused updates",
    )  # fmt: skip
    return Rows(heads, tuple(_run(study, run) for run in study.runs))


def _run(study: Study, run: Mapping[str, Any]) -> tuple[str, ...]:
    final = run.get("final") or {}
    refused = run.get("refused")
    return (
        named(study, run["method"]),
        str(run["seed"]),
        numbers.percent(final.get("accuracy")),
        numbers.decimal(final.get("loss")),
        numbers.percent(final.get("macro_f1")),
        numbers.percent(final.get("worst_client")),
        numbers.decimal(final.get("spread")),
        numbers.size(run.get("uplink_bytes")),
        numbers.size(run.get("downlink_bytes")),
        numbers.decimal(run.get("server_seconds"), 2),
        numbers.decimal(run.get("train_seconds"), 1),
        numbers.count(run.get("circuits")),
        numbers.count(run.get("shots")),
        numbers.count(run.get("trainable_parameters")),
        numbers.count(len(refused) if isinstance(refused, Sequence) else refused),
    )


def clients(study: Study) -> Rows:
    """Who the clients are, and in how many of the finished seeds each was hostile."""
    known = study.results.get("clients") or {}
    drawn = {run["seed"]: {str(client) for client in run["hostile"]} for run in study.runs if "hostile" in run}
    rows = []
    for client in sorted(known, key=lambda client: (len(client), client)):
        about = known[client]
        times = sum(client in each for each in drawn.values())
        often = f"in {times} of {len(drawn)} seeds" if times else "no"
        hostile = often if drawn else ("yes" if about.get("hostile") else "no")
        train, test = numbers.count(about.get("train_rows")), numbers.count(about.get("test_rows"))
        rows.append((study.client(client), hostile, client, train, test))
    return Rows(("client", "hostile", "id", "training rows", "test rows"), tuple(rows), 2)


def tuning(study: Study) -> Rows:
    """Every trial of the tuning; the chosen settings of a method are marked."""
    tuned = study.results.get("tuning") or {}
    chosen = tuned.get("chosen") or {}
    rows = []
    for trial in tuned.get("trials") or ():
        method, settings = trial.get("method", ""), trial.get("settings")
        mark = "chosen" if settings == chosen.get(method) else ""
        rows.append((named(study, method), plain(settings), mark, numbers.decimal(trial.get("score"), 4)))
    return Rows(("method", "settings", "", str(tuned.get("metric") or "score")), tuple(rows), 3)


def refused(study: Study) -> Rows:
    """Updates that the server refused, gathered by method, client and reason."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for line in study.history:
        for update in line.get("refused") or ():
            mediator = update.get("mediator")
            who = study.client(update.get("client", "")) if mediator is None else f"mediator {mediator}"
            key = (line["method"], who, str(update.get("reason", "")))
            found.setdefault(key, []).append(f"{line['round']} (seed {line['seed']})")
    rows = (
        (named(study, method), client, reason, shortened(rounds), str(len(rounds)))
        for (method, client, reason), rounds in found.items()
    )
    return Rows(("method", "client", "reason", "rounds", "updates"), tuple(rows), 4)


def environment(study: Study) -> Rows:
    """Versions, machine, commit, configuration hash."""
    return Rows(("what", "value"), tuple(_flat(study.results.get("environment") or {})), 2)


def named(study: Study, method: str) -> str:
    """The name of a method, with the diamond if it is quantum."""
    return f"{DIAMOND} {method}" if method in study.quantum else str(method)


def plain(settings: Any) -> str:
    """Nested settings on one line."""
    if not isinstance(settings, Mapping):
        return json.dumps(settings)
    return ", ".join(f"{key} = {plain(value)}" for key, value in settings.items()) or "as configured"


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        name = f"{above}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}: ")
        elif value is not None:
            yield name, str(value)


def shortened(rounds: Sequence[str], most: int = 6) -> str:
    """The first few, and how many more there are."""
    rest = len(rounds) - most
    return ", ".join(rounds[:most]) + (f" and {rest} more" if rest > 0 else "")
