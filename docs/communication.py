"""Fills docs/communication.md and draws its figures from committed results: `python docs/communication.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qfedfm.report import numbers
from qfedfm.report.look import looks
from qfedfm.report.pareto import costs, draw_pareto, front
from qfedfm.report.statistics import paired
from qfedfm.report.study import study as read
from qfedfm.report.summary import by_seed

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("communication.md")
FIGURES = Path(__file__).with_name("figures")
BASELINES = {
    "codecs/sources": "float32",
    "codecs/masks": "float32",
    "fedobd/sources": "fedavg",
    "fedobd/digits": "fedavg",
    "h-fl/digits": "fedavg",
}
"""The committed studies, and what each method in them is compared with."""


def folder(name: str) -> Path:
    """Where the results of ``question/variant`` lie."""
    question, variant = name.split("/")
    return ROOT / "experiments" / question / "results" / variant


def table(name: str) -> str:
    """A line for each method, from the most to the fewest bytes."""
    results = json.loads((folder(name) / "results.json").read_text(encoding="utf-8"))
    runs, baseline = results["runs"], BASELINES[name]
    sent = {way: _means(runs, f"{way}link_bytes") for way in ("up", "down")}
    ways = ("uplink_bytes", "downlink_bytes", "edge_uplink_bytes", "edge_downlink_bytes")
    parts = [_means(runs, way) for way in ways]
    total = {method: sum(part[method] for part in parts) for method in sent["up"]}
    theirs = by_seed(runs, baseline, "accuracy")
    lines = {line["method"]: line for line in results["summary"]}
    best = _front(total, lines)
    rows = []
    for method in sorted(total, key=lambda method: -total[method]):
        mine = by_seed(runs, method, "accuracy")
        found = paired([mine[seed] for seed in theirs], [theirs[seed] for seed in theirs])
        against = {"difference": found.mean, "ci95": found.interval}
        rows.append(
            f"| `{method}`{' ●' if method in best else ''} | {numbers.size(sent['up'][method])} "
            f"| {sent['up'][baseline] / sent['up'][method]:.3g} | {numbers.size(sent['down'][method])} "
            f"| {100 * (1 - total[method] / total[baseline]):.1f} | {numbers.with_interval(lines[method]['accuracy'])} "
            f"| {numbers.difference(against) if method != baseline else numbers.NOTHING} |"
        )
    fewer, against = f"`{baseline}` up / up", f"minus `{baseline}`, points"
    head = f"| method | up | {fewer} | down | saved of all bytes, % | accuracy, % | {against} |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def _means(runs: list[Mapping[str, Any]], field: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for run in runs:
        values.setdefault(run["method"], []).append(run.get(field, 0))
    return {method: sum(each) / len(each) for method, each in values.items()}


def _front(total: Mapping[str, float], lines: Mapping[str, Any]) -> set[str]:
    methods = list(total)
    return {methods[place] for place in front([(total[m], lines[m]["accuracy"]["mean"]) for m in methods])}


def page(text: str) -> str:
    """The page with what lies between ``<!-- table NAME -->`` and ``<!-- end -->`` made anew."""

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{table(match[2])}\n<!-- end -->"

    return re.sub(r"(<!-- table (\S+) -->)\n.*?<!-- end -->", filled, text, flags=re.DOTALL)


def draw(name: str, path: Path) -> None:
    """Accuracy against all bytes."""
    import matplotlib.pyplot as plt

    found = read(folder(name))
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    draw_pareto(axes, found, looks([found]))
    axes.set_title(f"{len(costs(found))} methods, {len(found.experiment['seeds'])} seeds", loc="left")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Writes the page and the figures."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name in BASELINES:
        draw(name, FIGURES / f"bytes-{name.replace('/', '-')}.png")


if __name__ == "__main__":
    main()
