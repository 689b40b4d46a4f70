from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from scipy.optimize import minimize_scalar

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.amplification import Mean
from qfedfm.quantum.estimation import (
    Queries,
    Seen,
    drawn,
    exponential,
    fisher_information,
    maximum_likelihood,
    measured,
)
from qfedfm.quantum.executor import Executor
from qfedfm.quantum.executors.ideal import Exact, Shots
from qfedfm.quantum.iterative import iterative

KEYS = [Key.of(0).fold(number) for number in range(200)]


def mean_of(a: float) -> Mean:
    """A register of one qubit whose two values have the mean a."""
    half = QuantumCircuit(1)
    half.h(0)
    away = min(a, 1 - a) / 2
    return Mean.of(half, np.array([a + away, a - away]))


def closed(a: float, shots: int):
    """The same samples by sin²((2m + 1)θ), without a circuit."""
    theta = np.arcsin(np.sqrt(a))

    def sample(power: int, key: Key) -> Seen:
        p = np.sin((2 * power + 1) * theta) ** 2
        return Seen(power, int(key.numpy().binomial(shots, min(1, p))) / shots, shots)

    return sample


@pytest.mark.parametrize("a", [0.0, 1e-3, 0.2, 0.5, 0.77, 1.0])
def test_exact_probabilities_give_the_mean(a: float) -> None:
    found = maximum_likelihood(measured(mean_of(a), Exact()), exponential(4), Key.of(0))
    assert found.value == pytest.approx(a, abs=1e-12)
    assert found.standard_error == 0
    assert found.queries == Queries(oracle=20, adjoint=15, circuits=5, shots=0)


@pytest.mark.parametrize("a", [0.13, 0.41])
def test_shots_drawn_from_a_circuit_are_those_of_the_executor(a: float) -> None:
    mean = mean_of(a)
    one = maximum_likelihood(measured(mean, Shots(50)), exponential(2), Key.of(3))
    other = maximum_likelihood(drawn(mean, 50), exponential(2), Key.of(3))
    assert one.queries == other.queries == Queries(oracle=50 * 6, adjoint=50 * 3, circuits=3, shots=150)
    assert abs(one.value - other.value) < 6 * one.standard_error


def test_shots_may_be_drawn_from_the_probabilities_of_any_executor() -> None:
    """Here of one that flips the outcome in a fifth of the shots: the flag's 0.1 becomes 0.1 + 0.2 · 0.8."""

    class Flipping(Executor):
        def run(self, circuit, parameters, key):
            ideal = Exact().run(circuit, parameters, key)
            return replace(ideal, probabilities=0.8 * ideal.probabilities + 0.2 * ideal.probabilities[:, ::-1])

    found = maximum_likelihood(drawn(mean_of(0.1), 40_000, Flipping()), (0,), Key.of(0))
    assert found.value == pytest.approx(0.26, abs=5 * found.standard_error)
    assert found.standard_error < 0.0025


@pytest.mark.parametrize("a", [0.15, 0.31, 0.49, 0.83])
def test_the_estimate_is_unbiased_and_reaches_its_bound(a: float) -> None:
    powers, shots = exponential(4), 100
    found = [maximum_likelihood(closed(a, shots), powers, key) for key in KEYS]
    values = np.array([one.value for one in found])
    bound = fisher_information(a, powers, shots) ** -0.5
    assert abs(values.mean() - a) < 4 * bound / np.sqrt(len(KEYS))
    assert values.std() == pytest.approx(bound, rel=0.2)
    assert np.mean([one.standard_error for one in found]) == pytest.approx(bound, rel=0.05)
    covered = np.mean([one.interval[0] <= a <= one.interval[1] for one in found])
    assert 0.9 < covered <= 1


@pytest.mark.parametrize("a", [0.27, 0.45, 0.63])
def test_near_a_pole_the_estimate_has_less_than_twice_the_spread_and_a_bias_below_it(a: float) -> None:
    """There sin²((2m + 1)θ) is near 0 or 1 for the largest power, and θ and its mirror image are nearly as likely."""
    powers = exponential(4)
    values = np.array([maximum_likelihood(closed(a, 100), powers, key).value for key in KEYS])
    bound = fisher_information(a, powers, 100) ** -0.5
    assert abs(values.mean() - a) < bound
    assert values.std() < 2 * bound


@settings(max_examples=30)
@given(st.floats(0, 1), st.integers(0, 5), st.integers(1, 40), st.integers(0, 1000))
def test_nothing_is_likelier_than_the_estimate(a: float, depth: int, shots: int, seed: int) -> None:
    """Against a fine grid refined by scipy."""
    seen: list[Seen] = []
    sample = closed(a, shots)

    def keep(power: int, key: Key) -> Seen:
        seen.append(sample(power, key))
        return seen[-1]

    found = maximum_likelihood(keep, exponential(depth), Key.of(seed))

    def cost(theta: float) -> float:
        total = 0.0
        for one in seen:
            p = np.clip(np.sin((2 * one.power + 1) * theta) ** 2, 1e-300, 1 - 1e-16)
            total -= one.share * np.log(p) + (1 - one.share) * np.log1p(-p)
        return total

    grid = np.linspace(0, np.pi / 2, 1500)
    best = grid[np.argmin([cost(theta) for theta in grid])]
    step = grid[1]
    refined = minimize_scalar(cost, bounds=(max(0, best - step), min(np.pi / 2, best + step)), method="bounded")
    assert cost(np.arcsin(np.sqrt(found.value))) <= min(refined.fun, cost(best)) + 1e-9


def test_the_error_falls_nearly_as_the_inverse_of_the_queries() -> None:
    queries, errors = [], []
    for depth in range(7):
        found = [maximum_likelihood(closed(0.31, 100), exponential(depth), key) for key in KEYS[:100]]
        queries.append(found[0].queries.total)
        errors.append(np.sqrt(np.mean([(one.value - 0.31) ** 2 for one in found])))
    assert np.polyfit(np.log(queries), np.log(errors), 1)[0] < -0.85
    sampling = [
        np.sqrt(np.mean([(closed(0.31, shots)(0, key).share - 0.31) ** 2 for key in KEYS])) for shots in queries
    ]
    assert np.polyfit(np.log(queries), np.log(sampling), 1)[0] == pytest.approx(-0.5, abs=0.06)


def test_queries_are_counted() -> None:
    assert exponential(0) == (0,)
    assert Seen(4, 0.5, 10).queries == Queries(oracle=50, adjoint=40, circuits=1, shots=10)
    assert (Queries(1, 2, 3, 4) + Queries(10, 20, 30, 40)) == Queries(11, 22, 33, 44)
    assert Queries(3, 2).total == 5


def test_fisher_information_is_the_curvature_of_the_expected_likelihood() -> None:
    a, powers, step = 0.3, exponential(3), 1e-5

    def likelihood(b: float) -> float:
        total = 0.0
        for power in powers:
            p, q = (np.sin((2 * power + 1) * np.arcsin(np.sqrt(value))) ** 2 for value in (a, b))
            total += 100 * (p * np.log(q) + (1 - p) * np.log(1 - q))
        return total

    curvature = -(likelihood(a + step) - 2 * likelihood(a) + likelihood(a - step)) / step**2
    assert fisher_information(a, powers, 100) == pytest.approx(curvature, rel=1e-3)
    assert fisher_information(0.0, powers, 100) == np.inf


@pytest.mark.parametrize("a", [0.0, 0.08, 0.5, 0.83, 1.0])
@pytest.mark.parametrize("error", [0.05, 0.002])
def test_the_iterative_interval_covers_the_mean_and_is_as_short_as_asked(a: float, error: float) -> None:
    found = [iterative(closed(a, 100), error, key) for key in KEYS[:60]]
    covered = [one.interval[0] - 1e-9 <= a <= one.interval[1] + 1e-9 for one in found]
    assert np.mean(covered) >= 0.9
    assert max(one.interval[1] - one.interval[0] for one in found) <= 2 * error
    assert all(one.value == pytest.approx(sum(one.interval) / 2) for one in found)


def test_the_iterative_estimate_needs_queries_as_the_inverse_of_the_error() -> None:
    needed = [np.mean([iterative(closed(0.3, 100), e, key).queries.total for key in KEYS[:30]]) for e in (0.01, 1e-4)]
    assert 30 < needed[1] / needed[0] < 300  # 10⁴ by sampling


def test_the_iterative_estimate_runs_on_an_executor() -> None:
    found = iterative(measured(mean_of(0.4), Shots(100)), 0.03, Key.of(1))
    assert found.interval[0] <= 0.4 <= found.interval[1]
    assert found.queries.shots == 100 * found.queries.circuits


def test_refuses_what_makes_no_sense() -> None:
    sample = closed(0.5, 10)
    for powers in ((), (1, 1)):
        with pytest.raises(ConfigError, match="at least one, each once"):
            maximum_likelihood(sample, powers, Key.of(0))
    with pytest.raises(ConfigError, match="depth = -1"):
        exponential(-1)
    with pytest.raises(ConfigError, match="0 shots"):
        drawn(mean_of(0.5), 0)
    for error, confidence in ((0.0, 0.9), (0.6, 0.9), (0.1, 1.0)):
        with pytest.raises(ConfigError, match="error ="):
            iterative(sample, error, Key.of(0), confidence)
    with pytest.raises(ConfigError, match="an executor with shots"):
        iterative(measured(mean_of(0.5), Exact()), 0.1, Key.of(0))
