import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, Statevector

from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.quantum.amplification import Mean, amplified, flagged, mean_estimation, value_angles
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.encoding import encoding_angles, encoding_circuit
from qfedfm.quantum.executors.ideal import Exact


def ends(seed: int, count: int) -> np.ndarray:
    """Values from 0 to 1, both ends among them."""
    values = np.random.default_rng(seed).uniform(size=count)
    values[:2] = 1, 0
    return values


@pytest.mark.parametrize("qubits", [1, 2, 3, 5])
def test_the_flag_of_a_uniform_distribution_has_the_mean(qubits: int) -> None:
    f = ends(qubits, 2**qubits)
    theta = value_angles(f)[None]
    found = Exact().run(Circuit(mean_estimation(qubits)), theta, Key.of(0)).probabilities
    assert flagged(found)[0] == pytest.approx(f.mean(), abs=1e-12)


@pytest.mark.parametrize("qubits", [1, 3])
def test_the_flag_of_any_distribution_has_its_mean(qubits: int) -> None:
    p = np.random.default_rng(7).dirichlet(np.ones(2**qubits))
    f = ends(1, 2**qubits)
    circuit = mean_estimation(qubits, 0, "any")
    assert [parameter.vector.name for parameter in circuit.parameters][:: 2**qubits] == ["f", "p"]
    theta = np.concatenate((value_angles(f), encoding_angles(np.sqrt(p))))
    state = Statevector(circuit.assign_parameters(theta)).data
    np.testing.assert_allclose(state[0::2], np.sqrt(p * (1 - f)), atol=1e-12)
    np.testing.assert_allclose(state[1::2], np.sqrt(p * f), atol=1e-12)


@pytest.mark.parametrize("power", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("qubits", [1, 2, 4])
def test_the_grover_operator_turns_by_twice_the_angle(qubits: int, power: int) -> None:
    f = ends(3, 2**qubits)
    angle = np.arcsin(np.sqrt(f.mean()))
    found = Exact().run(Circuit(mean_estimation(qubits, power)), value_angles(f)[None], Key.of(0)).probabilities
    assert flagged(found)[0] == pytest.approx(np.sin((2 * power + 1) * angle) ** 2, abs=1e-11)


@settings(max_examples=10)
@given(arrays(float, 4, elements=st.floats(0, 1)), st.integers(0, 6))
def test_any_values_turn_so(f: np.ndarray, power: int) -> None:
    mean = Mean.of(prepared(np.array([0.1, 0.2, 0.3, 0.4])), f)
    angle = np.arcsin(np.sqrt(min(1.0, f @ [0.1, 0.2, 0.3, 0.4])))
    found = Exact().run(mean.circuit(power), np.zeros((1, 0)), Key.of(0)).probabilities
    assert flagged(found)[0] == pytest.approx(np.sin((2 * power + 1) * angle) ** 2, abs=1e-11)


def prepared(p: np.ndarray) -> QuantumCircuit:
    angles = encoding_angles(np.sqrt(p))
    return encoding_circuit(2).assign_parameters(angles)


def test_the_grover_operator_by_its_definition() -> None:
    """A (1 − 2|0⟩⟨0|) A† Z on the flag, as matrices."""
    A = QuantumCircuit(3)
    for qubit in range(3):
        A.ry(0.3 + qubit, qubit)
    A.cx(1, 0)
    A.cx(0, 2)
    zero = np.eye(8)
    zero[0, 0] = -1
    a = Operator(A).data
    Q = a @ zero @ a.conj().T @ np.diag([1.0, -1] * 4)
    for power in (1, 3):
        assert Operator(amplified(A, power)).equiv(Operator(np.linalg.matrix_power(Q, power) @ a), atol=1e-12)


def test_a_flag_alone() -> None:
    mean = Mean.of(QuantumCircuit(0), np.array([0.3]))
    found = Exact().run(mean.circuit(2), np.zeros((1, 0)), Key.of(0)).probabilities
    assert flagged(found)[0] == pytest.approx(np.sin(5 * np.arcsin(np.sqrt(0.3))) ** 2, abs=1e-12)


def test_further_qubits_of_the_state_are_summed_over() -> None:
    mean = Mean.of(prepared(np.array([0.1, 0.2, 0.3, 0.4])), np.array([0.25, 0.75]))
    found = Exact().run(mean.circuit(0), np.zeros((1, 0)), Key.of(0)).probabilities
    assert flagged(found)[0] == pytest.approx(0.4 * 0.25 + 0.6 * 0.75, abs=1e-12)


def test_circuits_are_made_once_and_have_one_a_and_two_more_for_each_power() -> None:
    mean = Mean.of(prepared(np.full(4, 0.25)), np.array([0.1, 0.2, 0.3, 0.4]))
    assert mean.circuit(3) is mean.circuit(3)
    rotations = [mean.circuit(power).qiskit.count_ops()["ry"] for power in (0, 1, 4)]
    assert rotations == [7, 3 * 7, 9 * 7]


@pytest.mark.parametrize("values", [np.array([0.5, 1.1]), np.array([-0.1, 0.5]), np.array([0.5, np.nan])])
def test_refuses_values_that_are_no_probabilities(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="from 0 to 1"):
        value_angles(values)


def test_refuses_what_it_cannot_make() -> None:
    with pytest.raises(ConfigError, match="1 to 12"):
        mean_estimation(13)
    with pytest.raises(ConfigError, match="Grover power -1"):
        mean_estimation(1, -1)
    with pytest.raises(ConfigError, match="free parameters"):
        Mean(mean_estimation(1))
    for count in (3, 8):
        with pytest.raises(ConfigError, match=f"{count} values"):
            Mean.of(QuantumCircuit(2), np.full(count, 0.5))
