"""Clipping by its definition, noise by its moments."""

import numpy as np
import pytest
from scipy.stats import kstest

from qfedfm.core.key import Key
from qfedfm.split.noise import noised

KEY = Key.of(4)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 0.5, 3.0, 1e30])
def test_clipped_to_the_ball(scale):
    x = (scale * KEY.numpy().normal(size=50) / 7).astype(np.float32)
    found = noised(x, 1.0, 0.0, KEY)
    norm = np.linalg.norm(x.astype(np.float64))
    if norm <= 1:
        assert np.array_equal(found, x)
    else:
        np.testing.assert_allclose(found, x / norm, rtol=1e-6)


def test_without_a_limit_nothing_changes():
    x = np.float32([3e38, -1, 0])
    assert noised(x, None, 0.0, KEY) is x


def test_noise_is_gaussian_of_deviation_sigma_times_c():
    drawn = noised(np.zeros(20_000, np.float32), 2.0, 1.5, KEY)
    assert kstest(drawn / 3.0, "norm").pvalue > 0.01
    assert np.array_equal(drawn, noised(np.zeros(20_000, np.float32), 2.0, 1.5, KEY))
    assert not np.array_equal(drawn, noised(np.zeros(20_000, np.float32), 2.0, 1.5, Key.of(5)))
