"""docs/contribution.md, written by `python docs/contribution.py`."""

import importlib.util
from pathlib import Path

import pytest

from qfedfm.incentives.query_scaling import sampling, scaling

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def contribution():
    spec = importlib.util.spec_from_file_location("contribution", ROOT / "docs" / "contribution.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_points_that_were_measured(contribution):
    text = contribution.PAGE.read_text(encoding="utf-8")
    assert contribution.page(text, contribution.read()) == text
    assert contribution.FIGURE.is_file()


def test_the_page_says_what_a_simulated_oracle_needs(contribution):
    text = " ".join(contribution.PAGE.read_text(encoding="utf-8").replace("**", "").split())
    assert "the table needs all utilities, which give the exact value anyway." in text
    assert "Only the scaling of the error with the number of queries is shown" in text


def test_the_slopes_are_those_of_theory(contribution):
    points = contribution.read()
    every, late = contribution.steepness(points, "amplitude-estimation")
    assert late < -0.9
    assert every < -0.85
    assert contribution.steepness(points, "coalition-sampling") == pytest.approx((-0.5, -0.5), abs=0.05)


def test_measuring_again_gives_the_same_points(contribution):
    points = contribution.read()
    game, keys = contribution.game(), contribution.keys()
    again = [*scaling(game, keys, range(1), contribution.SHOTS), sampling(game, keys, contribution.FEW[0])]
    for point in again:
        (shown,) = [each for each in points if (each.method, each.queries) == (point.method, point.queries)]
        assert point.error == pytest.approx(shown.error, rel=1e-6)
        assert point.distinct == pytest.approx(shown.distinct)


def test_the_figure_can_be_drawn_again(contribution):
    (axes,) = contribution.draw(contribution.read()).axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(axes.get_legend().get_texts()) == 4
