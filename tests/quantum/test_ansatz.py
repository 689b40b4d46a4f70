import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import n_local
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.ansatz import (
    ENTANGLERS,
    born_circuit,
    born_parameters,
    qubits_for,
    reuploading_circuit,
    uniform_start,
)
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


@pytest.mark.parametrize("entangler", ["ring-cz", "linear-cz", "all-cz", "none"])
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
        ("all-cz", [(0, 1), (0, 2), (1, 2)]),
        ("none", []),
    ],
)
def test_the_entangler_couples_these(entangler: str, pairs: list[tuple[int, int]]) -> None:
    circuit = born_circuit(3, 1, entangler)
    found = [tuple(circuit.find_bit(q).index for q in gate.qubits) for gate in circuit.data if len(gate.qubits) == 2]
    assert found == pairs


@pytest.mark.parametrize("entangler", [entangler for entangler in ENTANGLERS if entangler != "none"])
def test_entanglers_are_those_of_qiskit(entangler: str) -> None:
    theta = angles(1, 12)
    shape, _, gate = entangler.partition("-")
    qiskit = {"all": "full", "linear": "linear", "ring": [(0, 1), (1, 2), (2, 3), (3, 0)]}[shape]
    theirs = n_local(4, ["ry"], ["cx" if gate == "cnot" else "cz"], entanglement=qiskit, reps=2)
    expected = Statevector(theirs.assign_parameters(theta)).probabilities()
    np.testing.assert_allclose(probabilities(4, 2, entangler, theta), expected, atol=1e-12)


def score(circuit: QuantumCircuit, values: np.ndarray) -> float:
    """The probability that qubit 0 is 1."""
    return float(Statevector(circuit.assign_parameters(values)).probabilities([0])[1])


def test_one_upload_of_one_feature_by_hand() -> None:
    """RY(b) RZ(x) RY(a)|0⟩: P(1) = (1 − cos a cos b + sin a sin b cos x) / 2."""
    circuit = reuploading_circuit(1, 1, 1)
    for a, b, x in angles(0, 3, batch=5):
        expected = (1 - np.cos(a) * np.cos(b) + np.sin(a) * np.sin(b) * np.cos(x)) / 2
        assert score(circuit, np.array([a, b, x])) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("qubits", "layers", "features"), [(1, 3, 1), (2, 2, 2), (2, 2, 3), (3, 2, 1)])
def test_the_score_is_a_trigonometric_polynomial_of_as_many_terms_as_uploads(
    qubits: int, layers: int, features: int
) -> None:
    circuit = reuploading_circuit(qubits, layers, features)
    points = 2 * layers + 4
    for feature in range(features):
        values = np.repeat(angles(feature, circuit.num_parameters)[None], points, axis=0)
        values[:, circuit.num_parameters - features + feature] = 2 * np.pi * np.arange(points) / points
        spectrum = np.abs(np.fft.rfft([score(circuit, line) for line in values])) / points
        assert spectrum[layers + 1 :].max() < 1e-12
        assert spectrum[layers] > 1e-6


def test_features_come_after_the_trained_angles_and_are_uploaded_each_time() -> None:
    circuit = reuploading_circuit(2, 3, 3)
    names = [parameter.name for parameter in circuit.parameters]
    assert names == [f"theta[{index}]" for index in range(14)] + ["x[0]", "x[1]", "x[2]"]
    uploads = [
        (gate.operation.params[0].name, circuit.find_bit(gate.qubits[0]).index)
        for gate in circuit.data
        if gate.operation.name == "rz"
    ]
    assert uploads == [("x[0]", 0), ("x[1]", 1), ("x[2]", 0)] * 3


def test_enough_qubits_and_no_more() -> None:
    for outcomes in range(2, 70):
        assert 2 ** (qubits_for(outcomes) - 1) < outcomes <= 2 ** qubits_for(outcomes)


@pytest.mark.parametrize(("qubits", "layers"), [(0, 1), (1, 0)])
def test_refuses_what_is_no_circuit(qubits: int, layers: int) -> None:
    with pytest.raises(ConfigError, match="at least one of each"):
        born_circuit(qubits, layers)


def test_refuses_no_features_and_no_qubits() -> None:
    with pytest.raises(ConfigError, match="0 features"):
        reuploading_circuit(1, 1, 0)
    with pytest.raises(ConfigError, match="at least one of each"):
        reuploading_circuit(0, 1, 1)
