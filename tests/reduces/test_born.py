import numpy as np
import pytest
from qiskit.quantum_info import Statevector

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.core.registry import build
from tests.reduces.cohorts import cohort_of, normal
from tests.reduces.learned import Linear, round_of, start, surrogate


@pytest.mark.parametrize("rank", [0, 1, 6, 9])
def test_basis_states_belong_to_client_ids(rank: int) -> None:
    """RY(π) on the qubits of the bits of a number makes that basis state: its client gets all the weight."""
    reduce = qf.reduces.Born(layers=1, entangler="none")
    ids = [3, 5, 8, 13, 21, 34, 55, 89, 144, 233]
    state = {**start(reduce, ids[::-1]), "theta": np.zeros(8)}
    state["theta"][:4] = np.pi * (rank >> np.arange(4) & 1)
    order = np.random.default_rng(rank).permutation(10)
    cohort = cohort_of(normal(10, 4), clients=[ids[k] for k in order])
    objective = Linear(np.zeros(4))
    round_of(reduce, cohort, objective, state)
    np.testing.assert_allclose(objective.asked[0], cohort.X[np.argwhere(order == rank)[0, 0]], atol=1e-6)


def test_the_circuit_is_what_gives_the_weights() -> None:
    cohort, objective = surrogate(10, 3, seed=0)
    reduce = qf.reduces.Born(layers=2)
    reduced, state = round_of(reduce, cohort, objective)
    p = Statevector(reduce.circuit(10).assign_parameters(state["theta"])).probabilities()[:10]
    share = cohort.weights * p
    np.testing.assert_allclose(reduced.row_weights, share / share.sum(), atol=1e-12)


@pytest.mark.parametrize(("clients", "qubits"), [(1, 1), (2, 1), (3, 2), (8, 3), (9, 4), (16, 4)])
def test_it_takes_as_few_qubits_as_there_can_be(clients: int, qubits: int) -> None:
    assert qf.reduces.Born().circuit(clients).num_qubits == qubits


def test_exact_circuits_are_counted_without_shots() -> None:
    cohort, objective = surrogate(10, 3, seed=0)
    reduced, _ = round_of(qf.reduces.Born(steps=7, gradients=2), cohort, objective)
    assert reduced.diagnostics["circuits"] == 7 * 2 + 3
    assert reduced.diagnostics["shots"] == 0
    assert reduced.diagnostics["reduce_parameters"] == 16


def test_shots_are_counted() -> None:
    cohort, objective = surrogate(10, 3, seed=0)
    reduced, _ = round_of(qf.reduces.Born(steps=7, gradients=2, shots=64), cohort, objective)
    circuits = 7 * 2 * (1 + 2 * 16) + 3
    assert reduced.diagnostics["circuits"] == circuits
    assert reduced.diagnostics["shots"] == 64 * circuits


def test_with_shots_hostile_clients_lose_their_weight_too() -> None:
    cohort, objective = surrogate(10, 3, seed=1)
    reduced, _ = round_of(qf.reduces.Born(shots=1000, steps=30), cohort, objective)
    assert reduced.row_weights[:3].sum() < 0.05


def test_with_shots_the_same_round_gives_the_same_weights() -> None:
    cohort, objective = surrogate(10, 3, seed=1)
    reduce = qf.reduces.Born(shots=100, steps=3)
    first, _ = round_of(reduce, cohort, objective)
    again, _ = round_of(reduce, cohort, objective)
    later, _ = round_of(reduce, cohort, objective, round_=2)
    np.testing.assert_array_equal(first.row_weights, again.row_weights)
    assert not np.array_equal(first.row_weights, later.row_weights)


def test_without_entangler_the_weights_are_a_product() -> None:
    """Of two independent bits on four equal clients: w₀ w₃ = w₁ w₂."""
    objective = Linear(np.array([1.0, -1.0, -1.0, 1.0]) + 0.1 * np.arange(4))
    w = round_of(qf.reduces.BornNoEntangler(), cohort_of(np.eye(4)), objective)[0].row_weights
    assert w[0] * w[3] == pytest.approx(w[1] * w[2], rel=1e-9)
    correlated = round_of(qf.reduces.Born(), cohort_of(np.eye(4)), objective)[0].row_weights
    assert correlated[0] * correlated[3] < 0.5 * correlated[1] * correlated[2]


def test_the_control_without_entangler_has_as_many_parameters() -> None:
    assert qf.reduces.BornNoEntangler().initial(10).size == qf.reduces.Born().initial(10).size
    assert "cx" not in qf.reduces.BornNoEntangler().circuit(10).count_ops()


@pytest.mark.parametrize("options", [{"layers": 0}, {"shots": 0}])
@pytest.mark.parametrize("name", ["Born", "BornNoEntangler", "BornRandom"])
def test_settings_out_of_range_are_refused(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="greater than or equal to 1"):
        getattr(qf.reduces, name)(**options)


def test_the_random_control_keeps_its_weights() -> None:
    cohort = cohort_of(normal(10, 6), weights=1.0 + np.arange(10) % 3)
    reduce = qf.reduces.BornRandom(seed=4)
    first, state = round_of(reduce, cohort, None)
    later, after = round_of(reduce, cohort_of(normal(10, 6, seed=1), cohort.weights), None, state, round_=2)
    assert after is state
    np.testing.assert_array_equal(first.row_weights, later.row_weights)
    p = Statevector(qf.reduces.Born().circuit(10).assign_parameters(state["theta"])).probabilities()[:10]
    expected = cohort.weights * p / (cohort.weights @ p)
    np.testing.assert_allclose(first.row_weights, expected, atol=1e-12)
    np.testing.assert_allclose(first.vector, expected @ cohort.X, atol=1e-5)


def test_the_random_control_follows_its_seed_and_the_ids() -> None:
    cohort = cohort_of(normal(5, 6), clients=[5, 3, 9, 1, 7])
    back = cohort_of(cohort.X[::-1], clients=cohort.clients[::-1])
    first, same, other = (
        round_of(qf.reduces.BornRandom(seed=seed), which, None)[0]
        for seed, which in ((1, cohort), (1, back), (2, cohort))
    )
    np.testing.assert_array_equal(first.row_weights, same.row_weights[::-1])
    assert np.abs(first.row_weights - other.row_weights).max() > 0.01


def test_the_random_control_with_shots() -> None:
    reduced, _ = round_of(qf.reduces.BornRandom(shots=128), cohort_of(normal(10, 6)), None)
    assert (reduced.diagnostics["circuits"], reduced.diagnostics["shots"]) == (1, 128)
    assert reduced.row_weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("options", [{"shots": 200}, {}], ids=str)
def test_a_round_under_the_noise_of_a_device(options):
    """The weights are those of the circuit on the device, counted in the column of noise."""
    cohort, objective = surrogate(4, 3, seed=0)
    executor = {"name": "aer", "noise": "manila", **options}
    reduce = build("reduce", {"name": "born", "layers": 1, "steps": 4, "gradients": 1, "executor": executor})
    reduced, state = round_of(reduce, cohort, objective)
    circuits = 4 * (1 + 2 * 4) + 2
    assert reduced.diagnostics["circuits"] == reduced.diagnostics["circuits_noise"] == circuits
    assert reduced.diagnostics["shots"] == options.get("shots", 0) * circuits
    ideal = Statevector(reduce.circuit(4).assign_parameters(state["theta"])).probabilities()
    share = cohort.weights * ideal / (cohort.weights @ ideal)
    assert 1e-3 < np.abs(reduced.row_weights - share).sum() / 2 < 0.3
    assert reduced.row_weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("shots", [None, 500])
def test_spsa_learns_as_much_with_three_circuits_a_step(shots):
    """About the loss of the exact gradient, which is far below the mean's."""
    for seed in range(3):
        cohort, objective = surrogate(4, 1, seed=seed)
        options = {"layers": 1, "steps": 60, "gradients": 2}
        reduced, _ = round_of(qf.reduces.Born(gradient="spsa", shots=shots, **options), cohort, objective)
        exactly, _ = round_of(qf.reduces.Born(**options), cohort, objective)
        assert reduced.diagnostics["circuits"] == 3 * 120 + 3
        mean = (cohort.weights @ cohort.X / cohort.weights.sum()).astype(np.float32)
        first, last, best = (objective(vector)[0] for vector in (mean, reduced.vector, exactly.vector))
        assert last - best < 0.1 * (first - best)


def test_shifts_of_the_ideal_circuit_are_the_statevectors_gradient():
    cohort, objective = surrogate(4, 1, seed=0)
    one, other = (round_of(qf.reduces.Born(steps=6, gradient=way), cohort, objective)[0] for way in ("auto", "shift"))
    np.testing.assert_allclose(one.vector, other.vector, atol=1e-6)
    assert other.diagnostics["circuits"] > 10 * one.diagnostics["circuits"]
    assert other.diagnostics["shots"] == 0


def own_ansatz(qubits):
    circuit = qf.reduces.Born(layers=2).circuit(2**qubits)
    circuit.rz(circuit.parameters[0], 0)
    return circuit


@pytest.mark.parametrize(
    "ansatz", ["tests.reduces.test_born:own_ansatz", own_ansatz, own_ansatz(3)], ids=["name", "function", "circuit"]
)
def test_a_circuit_of_ones_own(ansatz):
    cohort, objective = surrogate(8, 3, seed=0)
    reduce = qf.reduces.Born(ansatz=ansatz, steps=20)
    first = start(reduce, cohort.clients)
    assert first["theta"].shape == (9,)
    reduced, state = round_of(reduce, cohort, objective)
    p = Statevector(own_ansatz(3).assign_parameters(state["theta"])).probabilities()
    np.testing.assert_allclose(reduced.row_weights, cohort.weights * p / (cohort.weights @ p), atol=1e-12)
    assert reduced.diagnostics["reduce_parameters"] == 9
    assert reduced.row_weights[:3].sum() < 0.1
    with_shots, _ = round_of(qf.reduces.Born(ansatz=ansatz, steps=2, shots=100), cohort, objective)
    assert with_shots.diagnostics["circuits_shots"] > 0


def test_a_circuit_of_ones_own_with_other_qubits_is_refused_at_the_start():
    with pytest.raises(ConfigError, match="of 3 qubits; expected 2"):
        start(qf.reduces.Born(ansatz=own_ansatz(3)), range(4))
