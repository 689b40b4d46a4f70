"""Makes the figures of the documentation, and the tables of benchmarks.md, of the results: `python docs/figures.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

from qfedfm.bench.figure import draw
from qfedfm.bench.harness import NAMES
from qfedfm.bench.page import page
from qfedfm.report.figures import plot
from qfedfm.report.read import read_run

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "experiments" / "sources" / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"
FIGURES = Path(__file__).with_name("figures")
PAGE = Path(__file__).with_name("benchmarks.md")


def reports() -> list[dict[str, Any]]:
    """The committed benchmarks in the order of their names in `qfedfm bench`."""
    paths = [BENCHMARKS / f"{name}.json" for name in NAMES]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def main() -> None:
    """One picture for each study of `experiments/sources` and for each benchmark."""
    FIGURES.mkdir(exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = "qfedfm"
    for folder in sorted(path for path in STUDY.iterdir() if path.is_dir()):
        results, history = read_run(folder)
        plot(results, history).savefig(FIGURES / f"sources-{folder.name}.png", dpi=110, metadata={"Software": None})
    for report in reports():
        path = FIGURES / f"benchmark-{report['name']}.png"
        draw(report).savefig(path, dpi=110, metadata={"Software": None})
    import contribution  # beside this file, on the path where it is run as a script

    contribution.render()
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), reports()), encoding="utf-8")


if __name__ == "__main__":
    main()
