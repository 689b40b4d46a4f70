import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import build, describe
from qfedfm.quantum.ansatz import born_circuit, uniform_start
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import shots_for_error
from qfedfm.quantum.executors.ideal import Exact, Shots
from qfedfm.reduces.born import Born
from tests.quantum.circuits import angles

CIRCUIT = Circuit(born_circuit(3, 2))


def test_counts_are_whole_and_add_up() -> None:
    theta = angles(0, 9, batch=4)
    outcome = Shots(500).run(CIRCUIT, theta, Key.of(1))
    assert outcome.counts is not None
    assert outcome.counts.dtype == np.int64
    assert outcome.counts.sum(axis=1).tolist() == [500] * 4
    np.testing.assert_array_equal(outcome.probabilities, outcome.counts / 500)
    assert (outcome.circuits, outcome.shots) == (4, 2000)


def test_exact_probabilities_cost_no_shots() -> None:
    outcome = Exact().run(CIRCUIT, angles(0, 9, batch=4), Key.of(1))
    assert (outcome.counts, outcome.circuits, outcome.shots) == (None, 4, 0)


def test_the_key_decides_the_shots() -> None:
    theta = angles(0, 9, batch=2)
    first, again, other = (Shots(100).run(CIRCUIT, theta, Key.of(seed)).probabilities for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_frequencies_scatter_about_the_probabilities() -> None:
    theta, shots, repeats = angles(3, 9)[None].repeat(4000, axis=0), 100, 4000
    exact = Exact().run(CIRCUIT, theta[:1], Key.of(0)).probabilities[0]
    found = Shots(shots).run(CIRCUIT, theta, Key.of(0)).probabilities
    deviation = np.sqrt(exact * (1 - exact) / shots)
    assert (np.abs(found.mean(axis=0) - exact) < 5 * deviation / np.sqrt(repeats)).all()
    np.testing.assert_allclose(found.std(axis=0), deviation, rtol=0.08)


@pytest.mark.parametrize(("outcomes", "shots"), [(8, 28_842), (16, 32_308), (64, 39_239)])
def test_the_number_of_shots_for_an_error_of_one_percent(outcomes: int, shots: int) -> None:
    assert shots_for_error(outcomes, 0.01) == shots


def test_with_that_many_shots_the_error_is_rarely_larger() -> None:
    theta = uniform_start(3, 2)[None].repeat(2000, axis=0)
    found = Shots(shots_for_error(8, 0.05)).run(CIRCUIT, theta, Key.of(0)).probabilities
    assert (np.abs(found - 1 / 8).max(axis=1) <= 0.05).mean() >= 0.95


def test_refuses_no_shots() -> None:
    with pytest.raises(ConfigError, match="shots = 0; expected greater than or equal to 1"):
        Shots(0)


def test_a_part_takes_an_executor_and_describes_it_again() -> None:
    config = {"name": "born", "executor": {"name": "shots", "shots": 7}}
    reduce = Born(executor=Shots(7))
    assert build("reduce", config) == reduce
    assert describe(reduce)["executor"] == config["executor"]
    assert build("reduce", describe(reduce)) == reduce
    assert build("reduce", {"name": "born", "executor": "exact"}).executor == Exact()


def test_an_unknown_executor_and_one_beside_shots_are_refused() -> None:
    for config, match in (
        ("shot", "unknown executor 'shot'"),
        ({"name": "shots", "shot": 1}, "unknown option 'shot'"),
        (3, "executor"),
    ):
        with pytest.raises(ConfigError, match=match):
            build("reduce", {"name": "born", "executor": config})
    with pytest.raises(ConfigError, match="one of the two"):
        Born(shots=3, executor=Shots(7))
