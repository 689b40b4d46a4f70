import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.encoding import (
    encoding_angles,
    encoding_circuit,
    gray_angles,
    inversion_fidelity,
    inversion_test,
    multiplexed_ry,
    swap_fidelity,
    swap_test,
)
from qfedfm.quantum.executors.ideal import Exact, Shots


def vectors(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def fidelity(u: np.ndarray, v: np.ndarray) -> float:
    return float((u @ v) ** 2 / (u @ u) / (v @ v))


@pytest.mark.parametrize("qubits", [1, 2, 3, 4, 6])
def test_the_amplitudes_are_the_vector(qubits: int) -> None:
    v = vectors(0, 6, 2**qubits)
    v[0, 0] = 0
    v[1, : 2 ** (qubits - 1)] = 0
    v[2] = -1
    v[3] = -np.eye(2**qubits)[-1]
    circuit = encoding_circuit(qubits)
    for vector, theta in zip(v, encoding_angles(v), strict=True):
        state = Statevector(circuit.assign_parameters(theta)).data
        np.testing.assert_allclose(state, vector / np.linalg.norm(vector), atol=1e-12)


@pytest.mark.parametrize("d", [1, 3, 5, 6])
def test_short_vectors_are_filled_up_with_zeros(d: int) -> None:
    vector = vectors(d, d)
    circuit = encoding_circuit(max(1, (d - 1).bit_length()))
    state = Statevector(circuit.assign_parameters(encoding_angles(vector))).data
    np.testing.assert_allclose(state[:d], vector / np.linalg.norm(vector), atol=1e-12)
    np.testing.assert_allclose(state[d:], 0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 3.0, 1e300])
def test_lengths_do_not_matter(scale: float) -> None:
    v = vectors(1, 8)
    np.testing.assert_allclose(encoding_angles(scale * v), encoding_angles(v), atol=1e-12)


@pytest.mark.parametrize("qubits", [1, 2, 3, 5])
def test_the_gates_are_as_many_as_the_documentation_says(qubits: int) -> None:
    size = 2**qubits
    assert dict(encoding_circuit(qubits).count_ops()) == {"ry": size - 1} | ({"cx": size - 2} if qubits > 1 else {})
    cnots = inversion_test(qubits).count_ops().get("cx", 0)
    assert cnots == (3 * size // 2 - 4 if qubits > 1 else 0)


@pytest.mark.parametrize("controls", [0, 1, 2, 3])
def test_a_multiplexed_rotation_rotates_by_the_angle_of_the_controls(controls: int) -> None:
    alpha = vectors(2, 2**controls)
    for number in range(2**controls):
        for closed in (True, False):
            circuit = QuantumCircuit(controls + 1)
            for bit in range(controls):
                if number >> bit & 1:
                    circuit.x(bit)
            multiplexed_ry(circuit, gray_angles(alpha).tolist(), range(controls), controls, closed=closed)
            inverted = not closed and controls > 0 and number >> (controls - 1) & 1
            expected = np.array([np.cos(alpha[number] / 2), np.sin(alpha[number] / 2)])[:: -1 if inverted else 1]
            state = Statevector(circuit).data.reshape(2, -1)[:, number]
            np.testing.assert_allclose(state, expected, atol=1e-12)


@pytest.mark.parametrize("qubits", [1, 2, 3, 4])
def test_both_tests_give_the_fidelity(qubits: int) -> None:
    u, v = vectors(3, 2, 2**qubits)
    theta = np.concatenate((encoding_angles(u), encoding_angles(v)))
    by_inversion = Statevector(inversion_test(qubits).assign_parameters(theta)).probabilities()
    assert inversion_fidelity(by_inversion) == pytest.approx(fidelity(u, v), abs=1e-12)
    if qubits < 4:
        by_swap = Statevector(swap_test(qubits).assign_parameters(theta)).probabilities()
        assert swap_fidelity(by_swap) == pytest.approx(fidelity(u, v), abs=1e-12)


def test_the_library_simulates_them() -> None:
    """As a batch of pairs; and F is blind to sign and scale: F(δ, −3δ) = 1."""
    u, v = vectors(4, 2, 5, 4)
    v[0] = -3 * u[0]
    theta = np.concatenate((encoding_angles(u), encoding_angles(v)), axis=1)
    expected = [fidelity(a, b) for a, b in zip(u, v, strict=True)]
    assert expected[0] == pytest.approx(1)
    by_inversion = Exact().run(Circuit(inversion_test(2)), theta, Key.of(0)).probabilities
    np.testing.assert_allclose(inversion_fidelity(by_inversion), expected, atol=1e-12)
    by_swap = Exact().run(Circuit(swap_test(2)), theta, Key.of(0)).probabilities
    np.testing.assert_allclose(swap_fidelity(by_swap), expected, atol=1e-12)


def test_the_variances_of_the_estimators() -> None:
    """F(1 − F)/M for the inversion test, (1 − F²)/M for the swap test."""
    u, v = np.array([1.0, 0, 0, 0]), np.array([3.0, 1, -1, 1])
    F, shots, repeats = fidelity(u, v), 100, 4000
    assert pytest.approx(0.75) == F
    theta = np.concatenate((encoding_angles(u), encoding_angles(v)))[None].repeat(repeats, axis=0)
    inverted = inversion_fidelity(Shots(shots).run(Circuit(inversion_test(2)), theta, Key.of(0)).probabilities)
    swapped = swap_fidelity(Shots(shots).run(Circuit(swap_test(2)), theta, Key.of(1)).probabilities)
    for found, variance in ((inverted, F * (1 - F) / shots), (swapped, (1 - F**2) / shots)):
        assert found.mean() == pytest.approx(F, abs=5 * np.sqrt(variance / repeats))
        assert found.var() == pytest.approx(variance, rel=0.12)


@pytest.mark.parametrize("vector", [np.zeros(4), np.array([1.0, np.nan]), np.array([np.inf, 1.0]), np.zeros(0)])
def test_refuses_vectors_without_a_direction(vector: np.ndarray) -> None:
    with pytest.raises(DataError, match="all finite, not all zero"):
        encoding_angles(vector)


@pytest.mark.parametrize("make", [encoding_circuit, inversion_test, swap_test])
@pytest.mark.parametrize("qubits", [0, 15])
def test_refuses_states_that_nobody_prepares(make, qubits: int) -> None:
    with pytest.raises(ConfigError, match="1 to 14"):
        make(qubits)
