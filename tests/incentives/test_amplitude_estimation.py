import numpy as np
import pytest
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.incentives.contribution import coalition_weights
from qfedfm.incentives.contributions.amplitude_estimation import (
    AmplitudeEstimation,
    coalition_circuit,
    equal_nodes,
    gauss_nodes,
    oracles,
)
from qfedfm.incentives.game import Game
from qfedfm.incentives.query_scaling import scaling, slope
from qfedfm.quantum.estimation import Queries
from qfedfm.quantum.executors.ideal import Exact, Shots
from tests.incentives.test_shapley import by_orders, game_of


def table(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=2**n)


def coalitions(others: int, nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How probable each coalition is when the circuit's first qubits are measured."""
    return Statevector(coalition_circuit(others, nodes, weights)).probabilities(list(range(others)))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7, 8])
def test_the_circuit_gives_coalitions_their_shapley_weights(n: int) -> None:
    expected = coalition_weights(n)[np.bitwise_count(np.arange(2 ** (n - 1)))]
    np.testing.assert_allclose(coalitions(n - 1, *gauss_nodes(n)), expected, atol=1e-13)


def test_gauss_nodes_are_few_and_equal_parts_have_an_error_that_falls_as_their_square() -> None:
    assert [len(gauss_nodes(n)[0]) for n in (1, 2, 3, 6, 8)] == [1, 1, 2, 3, 4]
    expected = coalition_weights(5)[np.bitwise_count(np.arange(16))]
    errors = [np.abs(coalitions(4, *equal_nodes(count)) - expected).sum() for count in (4, 8, 16, 32)]
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4, rtol=0.25)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_exact_circuits_give_the_shapley_value(n: int) -> None:
    v = table(n)
    shares = AmplitudeEstimation(2, Exact()).shares(game_of(v), Key.of(0))
    np.testing.assert_allclose(shares.values, by_orders(v), atol=1e-11)
    np.testing.assert_array_equal(shares.standard_errors, 0)


@pytest.mark.parametrize("bound", [None, 8.0])
def test_shots_give_it_within_the_standard_error(bound: float | None) -> None:
    v = table(3)
    method = AmplitudeEstimation(3, Shots(100), bound)
    found = [method.shares(game_of(v), Key.of(number)) for number in range(4)]
    z = [(one.values - by_orders(v)) / one.standard_errors for one in found]
    assert np.abs(z).max() < 4.5
    assert 0.2 < np.sqrt(np.mean(np.square(z))) < 2


def test_a_looser_bound_costs_precision_in_proportion() -> None:
    v = table(2)
    tight, loose = (AmplitudeEstimation(1, Shots(50), bound).shares(game_of(v), Key.of(0)) for bound in (5.0, 50.0))
    np.testing.assert_allclose(loose.standard_errors / tight.standard_errors, 10, rtol=0.3)


def test_queries_and_utilities_are_counted() -> None:
    """Powers 0, 1, 2 at ten shots and three players: 10 · (1 + 2 + 3) of A and 10 · (0 + 1 + 2) of A† each."""
    game = game_of(table(3))
    shares = AmplitudeEstimation(2, Shots(10)).shares(game, Key.of(0))
    assert shares.queries == Queries(oracle=3 * 60, adjoint=3 * 30, circuits=9, shots=90)
    assert shares.evaluations == game.evaluations == 8
    assert shares.calls == game.calls == 3 * 2 * 4


def test_a_game_in_which_nobody_is_worth_anything() -> None:
    shares = AmplitudeEstimation(1, Exact()).shares(Game(2, lambda S: 3.0), Key.of(0))
    np.testing.assert_allclose(shares.values, 0, atol=1e-12)


def test_refuses_what_the_bound_excludes_and_what_is_too_large() -> None:
    with pytest.raises(DataError, match=r"at most the declared bound 0\.5"):
        oracles(Game(2, lambda S: float(len(S))), 0.5)
    with pytest.raises(ConfigError, match="13 players"):
        oracles(Game(13, lambda S: 0.0))
    with pytest.raises(ConfigError, match="bound"):
        AmplitudeEstimation(bound=-1.0)
    with pytest.raises(ConfigError, match="depth"):
        AmplitudeEstimation(depth=11)


def test_the_error_falls_twice_as_steeply_as_that_of_sampling() -> None:
    game = game_of(table(3, seed=4))
    points = scaling(game, [Key.of(5).fold(number) for number in range(60)], range(6))
    assert slope(points, "amplitude-estimation") < -0.85
    assert slope(points, "coalition-sampling") == pytest.approx(-0.5, abs=0.06)
    for point in points:
        assert 0.6 * point.expected < point.error < 2 * point.expected
        assert point.utilities <= 8
        assert 0 < point.distinct <= 4
        assert point.adjoint == 0 or point.method == "amplitude-estimation"
    assert [point.queries for point in points[:4]] == [100, 100, 400, 400]
    assert [(point.oracle, point.adjoint) for point in points[4:6]] == [(600, 300), (900, 0)]
    assert game.evaluations == 8


def test_refuses_a_scaling_of_nothing() -> None:
    game = game_of(table(1))
    with pytest.raises(ConfigError, match="0 keys"):
        scaling(game, [])
    with pytest.raises(ConfigError, match="at least two numbers of queries"):
        slope(scaling(game, [Key.of(0)], [0]), "coalition-sampling")
