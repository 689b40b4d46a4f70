import math

import mpmath
import pytest
from scipy.optimize import brentq

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.entropies import (
    asymptotic_rate,
    binary_entropy,
    device_independent_rate,
    entropy_of_errors,
    six_state_rate,
)


@pytest.mark.parametrize("p", ["1e-300", "1e-20", "0.025", "0.11", "0.5", "0.9", "0.999999999"])
def test_entropy_has_all_digits(p):
    with mpmath.workdps(400):
        x = mpmath.mpf(float(p))
        exact = float(-x * mpmath.log(x, 2) - (1 - x) * mpmath.log(1 - x, 2))
    assert math.isclose(binary_entropy(float(p)), exact, rel_tol=1e-14)


def test_entropy_is_exact_at_the_ends_and_refuses_the_rest():
    assert binary_entropy(0.0) == binary_entropy(1.0) == 0.0
    assert binary_entropy(0.5) == entropy_of_errors(0.5) == entropy_of_errors(0.9) == 1.0
    for p in (-1e-9, 1 + 1e-9, math.nan):
        with pytest.raises(ConfigError):
            binary_entropy(p)


@pytest.mark.parametrize(
    ("rate", "threshold"),
    [
        (asymptotic_rate, 0.110028),
        (lambda qber: asymptotic_rate(qber, 1.16), 0.09811),
        (six_state_rate, 0.126193),
        (lambda qber: device_independent_rate(qber, 2 * math.sqrt(2) * (1 - 2 * qber)), 0.071492),
    ],
    ids=["bb84", "bb84-1.16", "six-state", "device-independent"],
)
def test_rates_vanish_at_the_published_thresholds(rate, threshold):
    assert abs(brentq(rate, 0.01, 0.14) - threshold) < 1e-5
    assert rate(0.0) == pytest.approx(1.0)


def test_six_state_rate_is_that_of_four_bell_states():
    q = 0.05
    weights = [1 - 1.5 * q, q / 2, q / 2, q / 2]
    assert six_state_rate(q) == pytest.approx(1 + sum(w * math.log2(w) for w in weights))
    assert six_state_rate(2 / 3) == pytest.approx(1 - math.log2(3))
    with pytest.raises(ConfigError):
        six_state_rate(0.7)


def test_without_violation_nothing_is_device_independent():
    assert device_independent_rate(0.0, 2.0) == 0.0
    assert device_independent_rate(0.02, 1.0) == pytest.approx(-binary_entropy(0.02))
    with pytest.raises(ConfigError, match="2√2"):
        device_independent_rate(0.0, 2.9)
