import math
from itertools import product

import numpy as np
import pytest

from qfedfm.core.key import Key
from qfedfm.qkd.chsh import chsh, joint_counts, werner_chsh
from qfedfm.qkd.exchange import Half

ALICE, BOB = (0.0, math.pi / 4), (math.pi / 8, 3 * math.pi / 8)
"""Polarisation angles of the largest S."""


def half(pulse: list[int], bit: list[int], basis: list[int]) -> Half:
    return Half(np.array(pulse), np.array(bit, np.uint8), np.array(basis, np.uint8))


def probabilities(visibility: float) -> np.ndarray:
    """Of bits given settings: (1 ± V cos 2(a − b))/4."""
    correlation = np.array([[visibility * math.cos(2 * (a - b)) for b in BOB] for a in ALICE])
    equal, unequal = (1 + correlation) / 4, (1 - correlation) / 4
    return np.stack((np.stack((equal, unequal), -1), np.stack((unequal, equal), -1)), -2)


def test_counts_by_hand() -> None:
    alice = half([0, 2, 3, 7, 9], [0, 1, 1, 0, 1], [0, 2, 2, 1, 0])
    bob = half([2, 3, 4, 9], [1, 0, 1, 1], [1, 1, 0, 0])
    counts = joint_counts(alice, bob, (3, 2))
    assert counts.shape == (3, 2, 2, 2)
    seen = {tuple(cell): int(counts[tuple(cell)]) for cell in np.argwhere(counts).tolist()}
    assert seen == {(2, 1, 1, 1): 1, (2, 1, 1, 0): 1, (0, 0, 1, 1): 1}


@pytest.mark.parametrize("visibility", [1.0, 0.8, 0.0])
def test_the_largest_value_is_tsirelsons(visibility: float) -> None:
    counts = np.round(probabilities(visibility) * 10**12).astype(np.int64)
    assert chsh(counts).value == pytest.approx(2 * math.sqrt(2) * visibility, abs=1e-9)
    qber = (1 - visibility) / 2
    assert werner_chsh(qber) == pytest.approx(2 * math.sqrt(2) * visibility)


def test_no_answers_that_were_fixed_beforehand_exceed_two() -> None:
    """All sixteen ways to fix them, and S is linear in their mixtures."""
    values = []
    for answers in product((0, 1), repeat=4):
        counts = np.zeros((2, 2, 2, 2), np.int64)
        for a, b in product((0, 1), repeat=2):
            counts[a, b, answers[a], answers[2 + b]] = 10
        found = chsh(counts)
        assert found.error == 0
        values.append(found.value)
    assert sorted(set(values)) == [-2, 2]


def test_published_values() -> None:
    """S = 2 at QBER (1 − 1/√2)/2 = .146447, and 2.424 where the device-independent rate is zero (Acín et al. 2007)."""
    assert werner_chsh(0.146447) == pytest.approx(2, abs=1e-5)
    assert werner_chsh(0.071492) == pytest.approx(2.424, abs=5e-4)


def test_the_standard_error_is_the_spread() -> None:
    """Over many repetitions; the mean of the squared errors is unbiased."""
    rng = Key.of(0).fold("spread").numpy()
    p = probabilities(0.9).reshape(4, 4)
    repeated = [chsh(rng.multinomial(40, p).astype(np.int64).reshape(2, 2, 2, 2)) for _ in range(4000)]
    variance = np.var([found.value for found in repeated])
    exact = sum((1 - (2 * (line[0] + line[3]) - 1) ** 2) / 40 for line in p)
    # the standard error of a variance from 4000 values is 2.2 %
    assert variance == pytest.approx(exact, rel=0.08)
    assert np.mean([found.error**2 for found in repeated]) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize("pairs", [0, 1])
def test_settings_that_hardly_occur_leave_s_open(pairs: int) -> None:
    counts = np.full((2, 2, 2, 2), 25)
    counts[0, 1] = 0
    counts[0, 1, 0, 0] = pairs
    found = chsh(counts)
    assert (found.value, found.error) == (-pairs, math.inf)
