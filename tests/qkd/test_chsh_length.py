import math

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.qkd.chsh_length import ChshLength, chsh_value
from qfedfm.qkd.finite import serfling
from qfedfm.qkd.proof import Epsilon, Observed, Reason

ROOT2 = math.sqrt(2)


def polarisation(angle: float) -> np.ndarray:
    """cos 2φ Z + sin 2φ X, what is measured at a polarisation angle."""
    return np.array([[math.cos(2 * angle), math.sin(2 * angle)], [math.sin(2 * angle), -math.cos(2 * angle)]])


def game() -> np.ndarray:
    a, c = polarisation(0), polarisation(math.pi / 4)
    b, d = polarisation(math.pi / 8), polarisation(3 * math.pi / 8)
    return np.kron(a, b) - np.kron(a, d) + np.kron(c, b) + np.kron(c, d)


@pytest.mark.parametrize("key", [math.pi / 8, math.pi / 4])
def test_the_game_is_the_sum_of_both_kinds_of_errors(key):
    """1 − S/(2√2) = [bits differ at the key's angle] + [bits differ at right angles to it], and all of them commute."""
    one, f = np.eye(4), np.eye(4) - game() / (2 * ROOT2)
    differ = [(one - np.kron(m, m)) / 2 for m in (polarisation(key), polarisation(key + math.pi / 4))]
    np.testing.assert_allclose(f, sum(differ), atol=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(f), [0, 1, 1, 2], atol=1e-12)
    for operator in differ:
        np.testing.assert_allclose(operator @ f, f @ operator, atol=1e-12)
        assert np.linalg.eigvalsh(f - operator).min() > -1e-12


def test_value_of_the_game():
    assert chsh_value(0.5) == 0
    assert chsh_value(0.25) == 2
    assert chsh_value(0.5 - ROOT2 / 4) == pytest.approx(2 * ROOT2)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_phase_errors_stay_below_the_bound(share):
    """Bell states, some with a phase error: the game is played on k of them, the others show their phase errors."""
    n, k, epsilon, runs = 400, 400, 0.8, 20_000
    rng = Key.of(3).fold("game", round(share * 100)).numpy()
    margins = ChshLength(n, k, 0.0, 0, Epsilon(epsilon, 0.5)).phase_error - 1
    states = np.repeat([1, 0], [round(share * (n + k)), n + k - round(share * (n + k))])
    beyond = 0
    for _ in range(runs // 100):
        f = rng.permuted(np.tile(states, (100, 1)), axis=1)
        won = (rng.random((100, k)) < 0.5 + ROOT2 / 4 * (1 - f[:, :k])).mean(axis=1)
        beyond += int((f[:, k:].mean(axis=1) > 1 - (8 * won - 4) / (2 * ROOT2) + margins).sum())
    assert beyond / runs <= (epsilon / 4) ** 2


def test_margins_are_those_of_the_docstring():
    proof = ChshLength(10**6, 10**5, 2.7, 0, Epsilon(1e-10, 1e-15))
    size = math.log(4 * ROOT2 / 1e-10)
    expected = 1 - 2.7 / (2 * ROOT2) + 2 * ROOT2 * math.sqrt(size / 10**5) + 2 * serfling(10**6, 10**5, size)
    assert proof.phase_error == pytest.approx(expected, rel=1e-12)
    assert proof.qber(Observed(1, 1000, 160)) == pytest.approx((1 - (4 - 8 * 0.16) / (2 * ROOT2)) / 2)
    assert proof.qber(Observed(1, 1000, 0)) == 0.0


@pytest.mark.parametrize(
    ("seen", "leaked", "reason"),
    [
        (Observed(10**6, 10**5, 16_000), 0, None),
        (Observed(10**6 - 1, 10**5, 16_000), 0, Reason.TOO_FEW_BITS),
        (Observed(10**6, 10**5, 25_000), 0, Reason.CHSH),
        (Observed(10**6, 10**5, 16_000), 10**5 + 1, Reason.LEAK),
    ],
)
def test_a_key_or_a_reason(seen, leaked, reason):
    length = ChshLength(10**6, 10**5, 2.7, 10**5).length(seen, leaked)
    assert length.reason is reason
    assert (length.bits > 0) is (reason is None)


def test_an_impossible_tolerance_is_refused():
    with pytest.raises(ConfigError):
        ChshLength(10, 10, 2.9, 0)
    assert ChshLength(100, 10, 2.8, 0).refusal(Observed(100, 10, 0)).reason is Reason.TOO_FEW_BITS
