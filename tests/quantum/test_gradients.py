import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import XXPlusYYGate
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors.aer import Aer
from qfedfm.quantum.executors.ideal import Exact, Shots
from qfedfm.quantum.gradients import exact, parameter_shift, spsa
from tests.quantum.circuits import angles, random_circuit


@pytest.mark.parametrize("seed", range(4))
def test_shifting_each_gate_gives_the_gradient_of_the_adjoint(seed: int) -> None:
    circuit = Circuit(random_circuit(seed, 4, gates=40, parameters=3))
    theta, v = angles(seed, 3), np.random.default_rng(seed).normal(size=16)
    by_adjoint = exact(circuit, theta)
    by_shifts = parameter_shift(circuit, theta, Exact(), Key.of(0))
    np.testing.assert_allclose(by_shifts.probabilities, by_adjoint.probabilities, atol=1e-12)
    np.testing.assert_allclose(by_shifts.pullback(v), by_adjoint.pullback(v), atol=1e-10)


def test_the_costs_are_counted() -> None:
    circuit = Circuit(born_circuit(3, 2))
    theta = angles(0, 9)
    shifted = parameter_shift(circuit, theta, Shots(100), Key.of(0))
    assert (shifted.outcome.circuits, shifted.outcome.shots) == (19, 1900)
    outcome = exact(circuit, theta).outcome
    assert (outcome.circuits, outcome.shots) == (1, 0)


def test_a_parameter_in_two_gates_is_shifted_in_each() -> None:
    a = Parameter("a")
    qiskit = QuantumCircuit(1)
    qiskit.ry(a, 0)
    qiskit.ry(2 * a + 0.5, 0)
    unrolled = Circuit(qiskit).unrolled
    np.testing.assert_array_equal(unrolled.W, [[1], [2]])
    np.testing.assert_array_equal(unrolled.b, [0, 0.5])
    result = parameter_shift(Circuit(qiskit), np.array([0.3]), Exact(), Key.of(0))
    # p₁ = sin²((3a + ½)/2), ∂p₁ = 3/2 sin(3a + ½)
    assert result.pullback(np.array([0.0, 1.0]))[0] == pytest.approx(1.5 * np.sin(1.4), abs=1e-12)


def test_the_unrolled_circuit_is_the_same_circuit() -> None:
    circuit = Circuit(random_circuit(7, 3, gates=30, parameters=3))
    theta, unrolled = angles(7, 3), circuit.unrolled
    bound = unrolled.circuit.qiskit.assign_parameters(unrolled.W @ theta + unrolled.b)
    original = circuit.qiskit.assign_parameters(theta)
    np.testing.assert_allclose(Statevector(bound).probabilities(), Statevector(original).probabilities(), atol=1e-12)
    assert circuit.qiskit.num_parameters == 3


@pytest.mark.parametrize("gate", ["crx", "xx_plus_yy"])
def test_refuses_gates_that_need_more_than_two_shifts(gate: str) -> None:
    qiskit = QuantumCircuit(2)
    if gate == "crx":
        qiskit.crx(Parameter("a"), 0, 1)
    else:
        qiskit.append(XXPlusYYGate(Parameter("a")), [0, 1])
    with pytest.raises(ConfigError, match="more than two shifts"):
        _ = Circuit(qiskit).unrolled


def test_the_variance_of_a_gradient_from_shots() -> None:
    """(Var₊v + Var₋v) / (4N) for each angle, where Var± is that of v under the outcomes of the shifted circuit."""
    theta_vector = ParameterVector("theta", 6)
    qiskit = born_circuit(3, 1).assign_parameters(theta_vector)
    circuit, theta, shots, repeats = Circuit(qiskit), angles(2, 6), 50, 500
    v = np.random.default_rng(1).normal(size=8)

    def variance(x: np.ndarray) -> float:
        p = Statevector(qiskit.assign_parameters(x)).probabilities()
        return float(p @ v**2 - (p @ v) ** 2)

    half = np.pi / 2 * np.eye(6)
    expected = [(variance(theta + s) + variance(theta - s)) / (4 * shots) for s in half]
    samples = [
        parameter_shift(circuit, theta, Shots(shots), Key.of(0).fold(repeat)).pullback(v) for repeat in range(repeats)
    ]
    # a sample variance of M normal draws has a relative deviation of √(2/M) = 6.3 %
    np.testing.assert_allclose(np.var(samples, axis=0), expected, rtol=0.3)
    np.testing.assert_allclose(
        np.mean(samples, axis=0), exact(circuit, theta).pullback(v), atol=5 * np.sqrt(max(expected) / repeats)
    )


def _deep(qubits: int, layers: int, *, with_rz: bool) -> QuantumCircuit:
    theta = iter(ParameterVector("theta", qubits * layers * (1 + with_rz)))
    circuit = QuantumCircuit(qubits)
    for _ in range(layers):
        for qubit in range(qubits):
            circuit.ry(next(theta), qubit)
            if with_rz:
                circuit.rz(next(theta), qubit)
        for qubit in range(qubits - 1):
            circuit.cx(qubit, qubit + 1)
    return circuit


@pytest.mark.parametrize("qubits", [2, 3, 4, 5])
@pytest.mark.parametrize("with_rz", [False, True])
def test_deep_circuits_have_barren_plateaus(qubits: int, with_rz: bool) -> None:
    """Var(∂p₀) = 1/(N(N+2)) between random orthogonal matrices, 1/(2(N+1)²) between random unitaries, N = 2ⁿ.

    ∂p₀ = Re(ψ̄₀ χ₀), where ψ = Vφ, χ = V(−iY)φ. For real φ these are orthogonal, and ψ₀ and χ₀ are two coordinates of
    a random unit vector: E[z₁²z₂²] = 1/(N(N+2)). For complex φ it is half of E|z₁|²|z₂|² = 1/(N(N+1)), times
    E[1 − ⟨Y⟩²] = N/(N+1), since what χ has along ψ gives nothing.
    """
    N, samples = 2**qubits, 2000
    circuit = Circuit(_deep(qubits, 6 * qubits, with_rz=with_rz))
    middle = qubits * (1 + with_rz) * 3 * qubits
    theta = np.random.default_rng(qubits).uniform(0, 2 * np.pi, (samples, circuit.parameters))
    shift = np.pi / 2 * np.eye(circuit.parameters)[middle]
    plus, minus = (Exact().run(circuit, theta + s, Key.of(0)).probabilities[:, 0] for s in (shift, -shift))
    expected = 1 / (2 * (N + 1) ** 2) if with_rz else 1 / (N * (N + 2))
    assert np.var((plus - minus) / 2) == pytest.approx(expected, rel=0.2)


def test_spsa_is_right_on_average_and_takes_three_circuits() -> None:
    circuit, theta, v = Circuit(born_circuit(2, 2)), angles(3, 6), np.random.default_rng(0).normal(size=4)
    found = np.array([spsa(circuit, theta, Exact(), Key.of(seed), step=0.01).pullback(v) for seed in range(600)])
    expected = exact(circuit, theta).pullback(v)
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error + 1e-4).all()
    once = spsa(circuit, theta, Shots(50), Key.of(0))
    assert (once.outcome.circuits, once.outcome.shots) == (3, 150)
    assert spsa(circuit, theta, Shots(50), Key.of(0), repetitions=4).outcome.circuits == 9


def test_repetitions_of_spsa_lower_its_variance() -> None:
    circuit, theta, v = Circuit(born_circuit(1, 1)), np.array([0.3, 0.4]), np.array([0.0, 1.0])
    one, many = (
        np.std([spsa(circuit, theta, Exact(), Key.of(seed), repetitions).pullback(v)[0] for seed in range(200)])
        for repetitions in (1, 8)
    )
    assert many < one / 2


def test_the_variance_of_spsa_from_directions_and_from_shots() -> None:
    """Σ_{j≠i} g_j² / r, and (Var₊v + Var₋v) / (4 r c² N) on top, for which Var₊ ≈ Var₋ ≈ Var at a small c."""
    circuit, theta, v = Circuit(born_circuit(2, 1)), angles(1, 4), np.random.default_rng(1).normal(size=4)
    step, shots, repeats = 0.1, 40, 1500
    at = exact(circuit, theta)
    g = at.pullback(v)
    directions = (g @ g - g**2) / 2
    spread = float(at.probabilities @ v**2 - (at.probabilities @ v) ** 2) / (2 * 2 * step**2 * shots)
    for executor, expected in ((Exact(), directions), (Shots(shots), directions + spread)):
        keys = (Key.of(5).fold(repeat) for repeat in range(repeats))
        found = [spsa(circuit, theta, executor, key, 2, step).pullback(v) for key in keys]
        np.testing.assert_allclose(np.var(found, axis=0), expected, rtol=0.2)


def test_spsa_takes_gates_that_need_more_than_two_shifts() -> None:
    qiskit = QuantumCircuit(2)
    qiskit.h(0)
    qiskit.crx(Parameter("a"), 0, 1)
    found = spsa(Circuit(qiskit), np.array([0.7]), Aer(), Key.of(0), step=1e-3).pullback(np.array([0, 0, 0, 1.0]))
    # p₁₁ = ½ sin²(a/2)
    assert found[0] == pytest.approx(np.sin(0.7) / 4, abs=1e-6)
