import numpy as np
import pytest
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.ansatz import ENTANGLERS, born_circuit, born_parameters, qubits_for, uniform_start
from tests.quantum.circuits import angles


def probabilities(qubits: int, layers: int, entangler: str, theta: np.ndarray) -> np.ndarray:
    return Statevector(born_circuit(qubits, layers, entangler).assign_parameters(theta)).probabilities()


def rank(qubits: int, layers: int, entangler: str, theta: np.ndarray) -> int:
    """Of the Jacobian, by shifts of ±π/2 in Qiskit: how many directions of the simplex a first step can take."""
    shifts = np.pi / 2 * np.eye(len(theta))
    rows = [
        probabilities(qubits, layers, entangler, theta + s) - probabilities(qubits, layers, entangler, theta - s)
        for s in shifts
    ]
    return int(np.linalg.matrix_rank(np.array(rows), tol=1e-9))


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("qubits", [1, 2, 3, 4, 5])
def test_all_outcomes_are_equally_probable_at_the_start(qubits: int, entangler: str) -> None:
    for layers in (1, 2, 3):
        start = uniform_start(qubits, layers)
        np.testing.assert_allclose(probabilities(qubits, layers, entangler, start), 2.0**-qubits, rtol=1e-14)


@pytest.mark.parametrize("qubits", [1, 2, 3, 4])
def test_the_first_step_of_the_cnot_ring_can_go_anywhere(qubits: int) -> None:
    assert rank(qubits, 3, "ring-cnot", uniform_start(qubits, 3)) == 2**qubits - 1


@pytest.mark.parametrize("entangler", ["ring-cz", "linear-cz", "none"])
def test_the_first_step_of_the_others_cannot(entangler: str) -> None:
    assert rank(4, 3, entangler, uniform_start(4, 3)) < 15


@pytest.mark.parametrize("qubits", [1, 3, 4])
def test_without_entangler_the_bits_are_independent(qubits: int) -> None:
    theta = angles(0, born_parameters(qubits, 2))
    ones = np.sin(theta.reshape(3, qubits).sum(axis=0) / 2) ** 2
    states = np.arange(2**qubits)[:, None] >> np.arange(qubits) & 1
    product = np.where(states == 1, ones, 1 - ones).prod(axis=1)
    np.testing.assert_allclose(probabilities(qubits, 2, "none", theta), product, atol=1e-14)


def test_parameters_are_in_the_order_of_layers_and_qubits() -> None:
    circuit = born_circuit(4, 3)
    rotations = [gate for gate in circuit.data if gate.operation.name == "ry"]
    for index, gate in enumerate(rotations):
        assert gate.operation.params == [circuit.parameters[index]]
        assert circuit.find_bit(gate.qubits[0]).index == index % 4


@pytest.mark.parametrize(
    ("entangler", "pairs"),
    [
        ("linear-cnot", [(0, 1), (1, 2)]),
        ("ring-cz", [(0, 1), (1, 2), (2, 0)]),
        ("none", []),
    ],
)
def test_the_entangler_couples_neighbours(entangler: str, pairs: list[tuple[int, int]]) -> None:
    circuit = born_circuit(3, 1, entangler)
    found = [tuple(circuit.find_bit(q).index for q in gate.qubits) for gate in circuit.data if len(gate.qubits) == 2]
    assert found == pairs


def test_enough_qubits_and_no_more() -> None:
    for outcomes in range(2, 70):
        assert 2 ** (qubits_for(outcomes) - 1) < outcomes <= 2 ** qubits_for(outcomes)


@pytest.mark.parametrize(("qubits", "layers"), [(0, 1), (1, 0)])
def test_refuses_what_is_no_circuit(qubits: int, layers: int) -> None:
    with pytest.raises(ConfigError, match="at least one of each"):
        born_circuit(qubits, layers)
