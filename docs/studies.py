"""Fills the tables of docs/studies.md and draws its figures from the committed results: `python docs/studies.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qfedfm.report import numbers

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("studies.md")
FIGURES = Path(__file__).with_name("figures")
QUESTIONS = ("born", "fidelity", "selection", "shots")

Study = Mapping[str, Any]


def studies(question: str) -> dict[str, Study]:
    """The committed results of a question by variant, in the order of their names read as numbers."""
    paths = (ROOT / "experiments" / question / "results").glob("*/results.json")
    found = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    return {name: found[name] for name in sorted(found, key=_natural)}


def _natural(name: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def accuracies(found: Mapping[str, Study]) -> str:
    """Mean accuracy of each method in each variant, with half its 95 % interval."""
    methods = list(dict.fromkeys(line["method"] for study in found.values() for line in study["summary"]))
    quantum = {line["method"] for study in found.values() for line in study["summary"] if line["quantum"]}
    heads = ["variant", *(f"`{method}`{' ◆' if method in quantum else ''}" for method in methods)]
    rows = []
    for name, study in found.items():
        lines = {line["method"]: line for line in study["summary"]}
        report = f"[{name}](../experiments/{_question(study)}/results/{name}/report.html)"
        rows.append([report, *(numbers.with_interval((lines.get(m) or {}).get("accuracy")) for m in methods)])
    return table(heads, rows)


def comparisons(found: Mapping[str, Study]) -> str:
    """Each quantum method against its strongest twin and against the best classical method."""
    heads = [
        "variant", "method", "strongest twin", "difference [95 %], points", "within 1 point", "could have seen",
        "best classical", "difference [95 %], points", "verdict",
    ]  # fmt: skip
    rows = []
    for name, study in found.items():
        for line in judged(study):
            twin, best = line["vs_twin"], line["vs_best_classical"]
            within = "yes" if twin["equivalent"] else "not shown"
            rows.append([
                name, f"`{line['method']}`", f"`{twin['twin']}`", numbers.difference(twin), within,
                numbers.percent(twin["detectable"]), f"`{best['other']}`", numbers.difference(best), line["verdict"],
            ])  # fmt: skip
    return table(heads, rows)


def ratios(found: Mapping[str, Study]) -> str:
    """The mean approximation ratio of each circuit over rounds and seeds, beside that of a random choice."""
    rows = []
    for name, study in found.items():
        for method in dict.fromkeys(run["method"] for run in study["runs"] if "approximation_ratio" in run):
            runs = [run for run in study["runs"] if run["method"] == method]
            mean = {key: sum(run[key] for run in runs) / len(runs) for key in ("approximation_ratio", "random_ratio")}
            rows.append([name, f"`{method}`", *(numbers.decimal(value) for value in mean.values())])
    return table(["variant", "method", "approximation ratio", "of a random choice"], rows)


def judged(study: Study) -> list[Mapping[str, Any]]:
    """The lines of quantum methods that have a twin."""
    return [line for line in study["summary"] if line.get("verdict") and line["vs_twin"]]


def _question(study: Study) -> str:
    return str(study["experiment"]["name"]).partition("-")[0]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES = {"accuracies": accuracies, "comparisons": comparisons, "ratios": ratios}


def page(text: str) -> str:
    """The page with what lies between ``<!-- NAME QUESTION -->`` and ``<!-- end -->`` made anew."""

    def filled(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]](studies(match[3]))}\n<!-- end -->"

    return re.sub(r"(<!-- (\w+) (\w+) -->)\n.*?<!-- end -->", filled, text, flags=re.DOTALL)


def draw(found: Mapping[str, Study], path: Path) -> None:
    """The paired differences from the strongest twin, an interval for each variant and method."""
    import matplotlib.pyplot as plt

    lines = [(name, line) for name, study in found.items() for line in judged(study)]
    several = len({line["method"] for _, line in lines}) > 1
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.24 * len(lines)), layout="constrained")
    axes.axvspan(-1, 1, color="0.92", label="within one point")
    axes.axvline(0, color="0.5", linewidth=0.8)
    for place, (_, line) in enumerate(lines):
        twin = line["vs_twin"]
        low, high = twin["ci95"] or (twin["difference"],) * 2
        axes.plot([100 * low, 100 * high], [place, place], color="C0")
        axes.plot(100 * twin["difference"], place, "o", color="C0")
    labels = [f"{name}: {line['method']} − {line['vs_twin']['twin']}" if several else name for name, line in lines]
    axes.set_yticks(range(len(lines)), labels)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy above the strongest twin, points (95 % interval)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Writes the page and the figures."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for question in QUESTIONS:
        draw(studies(question), FIGURES / f"studies-{question}.png")


if __name__ == "__main__":
    main()
