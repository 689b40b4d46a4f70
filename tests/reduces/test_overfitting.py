"""With ten validation rows the learned weights do not learn them by heart; without a trust region they do."""

import importlib.util
import sys
from pathlib import Path

import pytest

import qfedfm as qf


@pytest.fixture(scope="module")
def unseen():
    """Losses on unseen rows above the weighted mean's, with ten validation rows, a line for each seed."""
    spec = importlib.util.spec_from_file_location("born_page", Path(__file__).parents[2] / "docs" / "born.py")
    page = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = page
    spec.loader.exec_module(page)
    page.SEEDS = range(12)
    reduces = {
        "born": qf.reduces.Born(),
        "softmax": qf.reduces.Softmax(),
        "free": qf.reduces.Born(trust=0.0),
        "loose": qf.reduces.Born(trust=0.3, ample=0),
    }
    found = page.curves(reduces, 10)
    return {name: (lines[:, 1].mean(), page.half(lines[:, 1]), lines) for name, lines in found.items()}


@pytest.mark.parametrize("name", ["born", "softmax"])
def test_the_default_is_not_worse_than_the_mean_on_unseen_rows(unseen, name):
    mean, half, _ = unseen[name]
    assert mean + half < 0.005


def test_without_a_trust_region_it_is(unseen):
    mean, half, lines = unseen["free"]
    assert mean - half > 0.005
    assert lines[:, 0].mean() < -0.05  # on the rows that it saw it is much better than the mean


def test_the_gap_between_seen_and_unseen_rows_closes(unseen):
    gaps = {name: (lines[:, 1] - lines[:, 0]).mean() for name, (_, _, lines) in unseen.items()}
    assert gaps["born"] < gaps["loose"] / 2 < gaps["free"] / 2
