import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qfedfm.core.errors import DataError
from qfedfm.report.statistics import detectable, equivalent, estimate, paired

SAMPLES = st.lists(st.floats(-100, 100), min_size=2, max_size=12, unique=True).filter(lambda x: np.std(x) > 1e-3)


@given(SAMPLES)
def test_interval_is_scipys(values):
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = estimate(values)
    assert found.interval == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)
    assert found.deviation == pytest.approx(stats.tstd(values))


@given(SAMPLES, st.integers(0, 2**32 - 1))
def test_paired_difference_is_scipys(values, seed):
    other = np.random.Generator(np.random.PCG64(seed)).normal(size=len(values))
    expected = stats.ttest_rel(values, other)
    interval = expected.confidence_interval(0.95)
    found = paired(values, list(other))
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)
    assert (found.interval[0] > 0 or found.interval[1] < 0) == (expected.pvalue < 0.05)


def test_students_sleep_data():
    # Student (1908), table of extra hours of sleep: mean difference 1.58, and R's t.test(paired) prints 0.70 to 2.46.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired(second, first)
    assert found.mean == pytest.approx(1.58)
    assert found.interval == pytest.approx((0.7001142, 2.4598858), abs=1e-6)


@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_detectable_agrees_with_published_sample_sizes(effect, n):
    # Sample sizes that G*Power gives for a paired t-test, two-sided 0.05, power 0.8.
    assert detectable(1.0, n) <= effect < detectable(1.0, n - 1)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_detectable_solves_the_noncentral_t_equation(n):
    delta = detectable(2.5, n)
    shift, critical = delta * math.sqrt(n) / 2.5, stats.t.ppf(0.975, n - 1)
    power = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    assert power == pytest.approx(0.8, abs=1e-6)


def test_detectable_is_detected_that_often():
    n, runs = 5, 20_000
    delta = detectable(1.0, n)
    draws = np.random.Generator(np.random.PCG64(0)).normal(delta, 1.0, size=(runs, n))
    hits = stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05
    assert hits.mean() == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / runs))


def test_shortcut_is_close_from_five_seeds():
    shortcut = (stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) / math.sqrt(5)
    assert detectable(1.0, 5) == pytest.approx(shortcut, rel=0.05)


def test_one_value_has_no_interval():
    found = estimate([0.7])
    assert (found.mean, found.interval, found.deviation, found.detectable) == (0.7, None, None, None)


def test_equal_values_have_no_interval():
    assert estimate([0.1] * 7).interval is None
    found = paired([0.7, 0.8, 0.9], [0.6, 0.7, 0.8])  # 0.1 apart up to rounding
    assert found.interval is None
    assert found.deviation == 0.0
    assert found.mean == pytest.approx(0.1)


def test_small_but_real_variation_is_kept():
    assert estimate([0.5, 0.5 + 1e-9]).interval is not None


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [math.inf]])
def test_values_must_be_finite(values):
    with pytest.raises(DataError, match="all finite"):
        estimate(values)


def test_pairs_must_match():
    with pytest.raises(DataError, match="a pair for each seed"):
        paired([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("deviation", "n", "power"), [(0.0, 5, 0.8), (1.0, 1, 0.8), (math.nan, 5, 0.8), (1.0, 5, 0.01)]
)
def test_detectable_refuses(deviation, n, power):
    with pytest.raises(DataError):
        detectable(deviation, n, power=power)


def test_equivalence_is_two_one_sided_tests_of_scipy():
    rng = np.random.default_rng(0)
    for n, scale in itertools.product((3, 5, 10), (0.002, 0.01, 0.05)):
        x = list(rng.normal(0.002, scale, n))
        above = stats.ttest_1samp(x, -0.01, alternative="greater").pvalue
        below = stats.ttest_1samp(x, 0.01, alternative="less").pvalue
        assert equivalent(estimate(x), 0.01) == (max(above, below) < 0.05)


def test_equivalence_needs_two_values_and_takes_equal_ones_at_their_word():
    assert not equivalent(estimate([0.0]))
    assert equivalent(estimate([0.002, 0.002, 0.002]))
    assert not equivalent(estimate([0.02, 0.02]))
