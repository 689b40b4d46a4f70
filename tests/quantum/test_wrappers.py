"""Executors around executors: what they correct, what they count, and in which order they work."""

import gc

import numpy as np
import pytest
from qiskit.quantum_info import DensityMatrix, Kraus

import qfedfm.quantum.executors.retry as retrying
from qfedfm.core.errors import BudgetError, ConfigError, DeviceError
from qfedfm.core.key import Key
from qfedfm.core.registry import build
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import frequencies
from qfedfm.quantum.executors.aer import Aer
from qfedfm.quantum.executors.budget import Budget
from qfedfm.quantum.executors.cache import Cache
from qfedfm.quantum.executors.ideal import Exact, Shots
from qfedfm.quantum.executors.readout import Readout, confusion
from qfedfm.quantum.executors.retry import Retry
from qfedfm.quantum.executors.twirl import Twirl
from qfedfm.quantum.executors.zne import Zne, coefficients, folded
from tests.quantum.noisy import CIRCUIT, FLIPS, IDEAL, THETA, Depolarising, Failing, Misreading, distance


def test_readout_errors_are_taken_back_and_what_that_cost_is_counted():
    worse, better = Misreading(200_000), Readout(Misreading(200_000))
    raw, corrected = (executor.run(CIRCUIT, THETA, Key.of(1)) for executor in (worse, better))
    assert distance(corrected) < 0.006 < 0.02 < distance(raw)
    assert (corrected.circuits, corrected.shots, corrected.column) == (5, 1_000_000, "mitigated")
    assert corrected.counts is None
    assert raw.column == "noise"


def test_the_measured_readout_errors_are_those_of_the_device():
    measured = Misreading(400_000).calibration(CIRCUIT, Key.of(0))
    for found, (up, down) in zip(confusion(measured.probabilities, 2), FLIPS, strict=True):
        np.testing.assert_allclose(found, [[1 - up, down], [up, 1 - down]], atol=0.004)


def test_few_shots_give_numbers_below_zero_and_the_projection_is_reported():
    theta = np.zeros((1, 6))  # |00⟩: three outcomes have probability 0
    biases = [Readout(Misreading(200)).run(CIRCUIT, theta, Key.of(seed)).bias for seed in range(20)]
    assert max(biases) > 0
    assert max(biases) < 0.1


def test_readout_needs_counts():
    with pytest.raises(ConfigError, match="gives no counts"):
        Readout(Aer()).run(CIRCUIT, THETA, Key.of(0))


def test_a_folded_circuit_does_the_same_with_more_gates():
    for factor in (1, 3, 5):
        longer = folded(CIRCUIT, factor)
        np.testing.assert_allclose(Exact().run(longer, THETA, Key.of(0)).probabilities, IDEAL, atol=1e-12)
        assert longer.qiskit.count_ops()["cx"] == factor * CIRCUIT.qiskit.count_ops()["cx"]
        assert folded(CIRCUIT, factor) is longer
    assert list(folded(CIRCUIT, 3).qiskit.parameters) == list(CIRCUIT.qiskit.parameters)


@pytest.mark.parametrize("extrapolation", ["linear", "richardson"])
def test_extrapolation_comes_nearer_to_the_ideal_and_richardson_nearest(extrapolation):
    noisy = Depolarising(0.02)
    raw = noisy.run(CIRCUIT, THETA, Key.of(0))
    mitigated = Zne(noisy, extrapolation=extrapolation).run(CIRCUIT, THETA, Key.of(0))
    assert distance(mitigated) < distance(raw) / (3 if extrapolation == "linear" else 10)
    assert (mitigated.circuits, mitigated.column) == (9, "mitigated")


def test_richardson_is_exact_for_a_polynomial_through_its_points():
    factors = (1, 3, 5)
    c = coefficients(factors, "richardson")
    for power in range(3):
        assert c @ np.power(factors, power) == pytest.approx(float(power == 0), abs=1e-9)
    line = coefficients(factors, "linear")
    assert line.sum() == pytest.approx(1)
    assert line @ np.array(factors) == pytest.approx(0, abs=1e-12)


def test_zne_refuses_what_makes_no_sense():
    with pytest.raises(ConfigError, match="odd"):
        Zne(Shots(10), factors=(1, 2))
    with pytest.raises(ConfigError, match="at least two"):
        Zne(Shots(10), factors=(1,))
    with pytest.raises(ConfigError, match="which is exact"):
        Zne(Aer()).run(CIRCUIT, THETA, Key.of(0))


def test_twirling_keeps_the_ideal_circuit_and_averages_a_coherent_error_away():
    ideal = Twirl(Exact(), instances=3).run(CIRCUIT, THETA, Key.of(0))
    np.testing.assert_allclose(ideal.probabilities, IDEAL, atol=1e-12)
    assert ideal.circuits == 9
    coherent = Depolarising(0.0, over=0.8)
    mean = Twirl(coherent, instances=64).run(CIRCUIT, THETA, Key.of(1)).probabilities
    # RZZ(φ) with random signs is a mixture: with probability sin²(φ/2) a ZZ after each of the gates
    expected = np.array([_with_zz(line, np.sin(0.4) ** 2) for line in THETA])
    np.testing.assert_allclose(mean, expected, atol=0.03)
    assert np.abs(coherent.run(CIRCUIT, THETA, Key.of(1)).probabilities - expected).max() > 0.03


def _with_zz(line: np.ndarray, chance: float) -> np.ndarray:
    state = DensityMatrix.from_int(0, 4)
    zz = Kraus([np.sqrt(1 - chance) * np.eye(4), np.sqrt(chance) * np.diag([1, -1, -1, 1])])
    bound = CIRCUIT.qiskit.assign_parameters(line)
    for gate in bound.data:
        qubits = [bound.find_bit(qubit).index for qubit in gate.qubits]
        state = state.evolve(gate.operation, qubits)
        if gate.operation.name == "cx":
            state = state.evolve(zz, qubits)
    return state.probabilities()


def test_twirled_counts_add_up():
    outcome = Twirl(Shots(100), instances=4).run(CIRCUIT, THETA, Key.of(0))
    assert outcome.counts is not None
    assert outcome.counts.sum(axis=1).tolist() == [400] * 3
    assert (outcome.circuits, outcome.shots, outcome.column) == (12, 1200, "shots")


def test_the_cache_runs_once_and_a_second_request_is_free():
    inner = Failing(())
    cached = Cache(inner)
    first, again = (cached.run(CIRCUIT, THETA, Key.of(3)) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert (first.circuits, first.shots) == (3, 150)
    assert (again.circuits, again.shots) == (0, 0)
    cached.run(CIRCUIT, THETA, Key.of(4))
    cached.run(CIRCUIT, THETA + 1, Key.of(3))
    assert len(inner.calls) == 3
    other = Failing((), [])
    freely = Cache(other, any_key=True)
    freely.run(CIRCUIT, THETA, Key.of(8))
    assert freely.run(CIRCUIT, THETA, Key.of(9)).shots == 0


def test_the_cache_does_not_keep_a_circuit_alive():
    from qfedfm.quantum.executors import cache

    gc.collect()
    before = len(cache._kept)
    circuit = Circuit(born_circuit(1, 1))
    Cache(Shots(5)).run(circuit, np.zeros((1, 2)), Key.of(0))
    assert len(cache._kept) == before + 1
    del circuit
    gc.collect()
    assert len(cache._kept) == before


def test_a_lost_connection_is_tried_again_with_longer_waits(monkeypatch):
    waits = []
    monkeypatch.setattr(retrying.time, "sleep", waits.append)
    inner = Failing((ConnectionError("lost"), DeviceError("cancelled")))
    assert Retry(inner, attempts=3, wait=2.0).run(CIRCUIT, THETA, Key.of(0)).circuits == 3
    assert waits == [2.0, 4.0]
    with pytest.raises(DeviceError, match="failed 2 times, at last with: still down"):
        Retry(Failing((TimeoutError("down"), TimeoutError("still down"))), attempts=2).run(CIRCUIT, THETA, Key.of(0))
    refused = Failing((ConfigError("no such device"),))
    with pytest.raises(ConfigError, match="no such device"):
        Retry(refused).run(CIRCUIT, THETA, Key.of(0))
    assert len(refused.calls) == 1


def test_a_budget_refuses_before_it_is_passed():
    budget = Budget(Shots(11), circuits=7)
    budget.run(CIRCUIT, THETA, Key.of(0))
    assert (budget.spent.circuits, budget.spent.shots) == (3, 33)
    budget.run(CIRCUIT, THETA, Key.of(1))
    with pytest.raises(BudgetError, match="7 circuits, of which 6 are spent"):
        budget.run(CIRCUIT, THETA, Key.of(2))
    assert Budget(Shots(11), circuits=7).spent == budget.spent
    assert Budget(Shots(11), circuits=8).spent.circuits == 0
    by_shots = Budget(Shots(12), shots=36)
    by_shots.run(CIRCUIT, THETA, Key.of(0))
    with pytest.raises(BudgetError, match="36 shots"):
        by_shots.run(CIRCUIT, THETA, Key.of(1))
    with pytest.raises(BudgetError, match="device seconds"):
        Budget(Shots(13), device_seconds=0.0).run(CIRCUIT, THETA, Key.of(0))


def test_wrappers_compose_from_a_configuration_and_pay_for_all_of_it():
    executor = build(
        "executor",
        {
            "name": "cache",
            "inner": {
                "name": "readout",
                "inner": {"name": "twirl", "instances": 2, "inner": {"name": "shots", "shots": 100}},
            },
        },
    )
    assert executor == Cache(Readout(Twirl(Shots(100), instances=2)))
    outcome = executor.run(CIRCUIT, THETA, Key.of(0))
    assert (outcome.circuits, outcome.shots) == (2 * 3 + 2, 2 * 300 + 200)
    assert outcome.column == "mitigated"


def test_counts_that_are_all_zero_are_an_error_with_a_way_out():
    with pytest.raises(DeviceError, match=r"no counts at all for 1 of 2 circuits.*X gate"):
        frequencies(np.array([[3, 0], [0, 0]]), "device")


@pytest.mark.slow
def test_mitigation_helps_under_the_noise_of_a_fake_device():
    raw = Aer(shots=20_000, noise="manila")
    found = {
        name: np.mean([distance(executor.run(CIRCUIT, THETA, Key.of(seed))) for seed in range(3)])
        for name, executor in (
            ("raw", raw),
            ("readout", Readout(raw)),
            ("zne of readout", Zne(Readout(raw))),
        )
    }
    assert found["readout"] < 0.6 * found["raw"]
    assert found["zne of readout"] < 0.6 * found["raw"]
