"""The figures and tables of docs/benchmarks.md."""

import importlib.util
import io
import json
from pathlib import Path

import pytest

from qfedfm.bench import page
from qfedfm.bench.cases import case
from qfedfm.bench.figure import draw

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "platform": "Linux", "processor": "A processor", "cores": 2, "commit": "0123456789", "quick": True,
    "packages": {"torch": "2.13.0"}, "peers": {"flwr": "1.41.0"}, "device": "cpu",
}  # fmt: skip


def report(name="simulate"):
    cases = [
        case("training", "client-steps/s", [30.0, 40.0], [10.0, 10.0], "a loop", 4.0, note="it was warm"),
        case("memory", "MB", [500.0], [1500.0], "Flower", 2.0),
        case(
            "accuracy", "% right", [70.0], [70.5], "sequential", difference=-0.5, ci95=[-1.5, 0.5], differences=[-0.5]
        ),
    ]
    return {"schema": 1, "name": name, "environment": ENVIRONMENT, "cases": cases}


def test_a_section_has_every_case_and_says_which_targets_are_met():
    text = page.section(report())
    assert "A processor, 2 cores, device cpu, torch 2.13.0, flwr 1.41.0, commit 0123456. A quick run" in text
    assert "| training | client-steps/s | 35 | 10 | a loop | 3.5× (3 to 4) | 4 ✗ |" in text
    assert "| memory | MB | 500 | 1,500 | Flower | 3× | 2 ✓ |" in text
    assert "- training: it was warm." in text
    assert "paired difference -0.50 points (95 % interval -1.50 to +0.50" in text


def test_what_stands_around_the_sections_stays():
    text = f"# Title\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter.\n"
    made = page.page(text, [report()])
    assert made.startswith("# Title\n")
    assert made.endswith("\n\nAfter.\n")
    assert "old" not in made
    assert page.page(made, [report()]) == made


@pytest.mark.parametrize("field", ["clients", "cohort", None])
def test_a_figure_of_any_report(field):
    made = report()
    if field is not None:
        made["cases"] = [
            case(f"{n}", unit, [float(n)], [1.0], "ours", **{field: n}) for n in (10, 100) for unit in ("seconds", "MB")
        ]
    figure = draw(made)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    assert len(image.getvalue()) > 5_000
    if field is None:
        (axes,) = figure.axes
        assert [label.get_text() for label in axes.get_yticklabels()] == ["training", "memory", "accuracy"]
        assert any("3.5×" in text.get_text() for text in axes.texts)
        widths = [bar.get_width() for bar in axes.patches if bar.get_height() == pytest.approx(0.62)]
        assert widths == pytest.approx([2.5, 2.0, 70 / 70.5 - 1], abs=1e-4)


def test_the_committed_page_is_that_of_the_committed_results():
    """Made by `python docs/figures.py`."""
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    text = figures.PAGE.read_text(encoding="utf-8")
    assert page.page(text, figures.reports()) == text


def test_the_committed_results_are_reports():
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        assert list(found) == ["schema", "name", "environment", "cases"]
        assert (found["schema"], found["name"]) == (1, path.stem)
        for line in found["cases"]:
            assert line["ratio"] > 0
            assert {"case", "unit", "ours", "peer", "peer_name"} <= set(line)
