"""Draws the figures of the documentation from the committed results: `python docs/figures.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from qfedfm.report.figures import plot
from qfedfm.report.read import read_run

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "experiments" / "sources" / "results"
FIGURES = Path(__file__).with_name("figures")


def main() -> None:
    """One picture for each study of `experiments/sources`."""
    FIGURES.mkdir(exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = "qfedfm"
    for folder in sorted(path for path in STUDY.iterdir() if path.is_dir()):
        results, history = read_run(folder)
        plot(results, history).savefig(FIGURES / f"sources-{folder.name}.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
