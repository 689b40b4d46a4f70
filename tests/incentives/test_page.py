"""docs/contribution.md, written by `python docs/contribution.py`."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.parts import ServerAt
from qfedfm.incentives.query_scaling import sampling, scaling
from qfedfm.quantum.executors.aer import Aer
from tests.reduces.learned import both

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def contribution():
    spec = importlib.util.spec_from_file_location("contribution", ROOT / "docs" / "contribution.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_points_that_were_measured(contribution):
    text = contribution.PAGE.read_text(encoding="utf-8")
    assert contribution.page(text, contribution.read(), contribution.read(contribution.NOISY)) == text
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


def test_noise_makes_deeper_circuits_worse(contribution):
    noisy = [point for point in contribution.read(contribution.NOISY) if point.method == "amplitude-estimation"]
    (again, _) = scaling(contribution.game(3), contribution.keys(), range(1), contribution.SHOTS, Aer(noise="manila"))
    assert again.error == pytest.approx(noisy[0].error, rel=0.05)
    assert all(deeper.error > noisy[0].error for deeper in noisy[1:])


def test_the_example_of_the_page_runs(contribution):
    text = contribution.PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    X = np.eye(3, 5, dtype=np.float32)
    layout = qf.Layout.of({"x": (5,)})
    objective = both(lambda delta: (float(((delta - 1) ** 2).sum()), 2 * (delta - 1)))
    at = ServerAt(1, qf.Key.of(0), layout, np.zeros(5, np.float32), objective)
    names = {"cohort": qf.Cohort(X, np.ones(3), (3, 7, 9), layout), "at": at}
    exec(code, names)
    assert names["worth"][7] == pytest.approx((2 - 1 / 3) / 3, abs=1e-6)
    assert names["shares"].evaluations == 8


def test_the_figure_can_be_drawn_again(contribution):
    (axes,) = contribution.draw(contribution.read()).axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(axes.get_legend().get_texts()) == 4
