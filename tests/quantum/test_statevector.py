import tracemalloc

import numpy as np
import pennylane as qml
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit.library import QFTGate, XGate
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError
from qfedfm.quantum import arrays, compiler, statevector, steps
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.operations import Diagonal, Local, Monomial
from qfedfm.quantum.statevector import compile_circuit
from tests.quantum.circuits import angles, random_circuit

PENNYLANE = {
    "rx": qml.RX, "ry": qml.RY, "rz": qml.RZ, "p": qml.PhaseShift, "rzz": qml.IsingZZ, "rxx": qml.IsingXX,
    "ryy": qml.IsingYY, "h": qml.Hadamard, "x": qml.PauliX, "y": qml.PauliY, "z": qml.PauliZ, "s": qml.S,
    "tdg": lambda wires: qml.adjoint(qml.T(wires)), "sx": qml.SX, "cx": qml.CNOT, "cz": qml.CZ, "cy": qml.CY,
    "ch": qml.CH, "cs": lambda wires: qml.ctrl(qml.S(wires[1]), control=wires[0]), "swap": qml.SWAP,
    "iswap": qml.ISWAP, "ecr": qml.ECR, "ccx": qml.Toffoli,
}  # fmt: skip


def by_pennylane(circuit: Circuit, theta: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and Jᵀv by default.qubit and torch; PennyLane puts its first wire in the highest bit."""
    unrolled = circuit.unrolled

    @qml.qnode(qml.device("default.qubit"), interface="torch", diff_method="backprop")
    def node(angles: torch.Tensor):
        turns = iter(angles)
        for gate in unrolled.circuit.qiskit.data:
            wires = [unrolled.circuit.qiskit.find_bit(qubit).index for qubit in gate.qubits]
            PENNYLANE[gate.operation.name](*(next(turns) for _ in gate.operation.params), wires=wires)
        return qml.probs(wires=range(circuit.qubits)[::-1])

    point = torch.from_numpy(theta).requires_grad_()
    probabilities = node(torch.from_numpy(unrolled.W) @ point + torch.from_numpy(unrolled.b))
    (gradient,) = torch.autograd.grad(probabilities, point, torch.from_numpy(v))
    return probabilities.detach().numpy(), gradient.numpy()


def by_qiskit(circuit: Circuit, theta: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and Jᵀv by Qiskit's statevector and the parameter-shift rule."""
    unrolled = circuit.unrolled
    angles = unrolled.W @ theta + unrolled.b

    def mean(point: np.ndarray) -> float:
        return float(Statevector(unrolled.circuit.qiskit.assign_parameters(point)).probabilities() @ v)

    half = np.pi / 2 * np.eye(len(angles))
    slopes = np.array([mean(angles + shift) - mean(angles - shift) for shift in half]) / 2
    return Statevector(circuit.qiskit.assign_parameters(theta)).probabilities(), unrolled.W.T @ slopes


def ours(circuit: Circuit, theta: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of one point."""
    probabilities, pullback = circuit.program.evaluate(theta[None])
    return probabilities[0], pullback(v[None])[0]


@given(st.integers(0, 2**32), st.integers(1, 7), st.booleans(), st.sampled_from([by_pennylane, by_qiskit]))
@settings(max_examples=40, deadline=None)
def test_values_and_gradients_are_those_of_other_libraries(seed, qubits, real, reference) -> None:
    circuit = Circuit(random_circuit(seed, qubits, gates=30, parameters=3, real=real))
    theta, v = angles(seed, 3), np.random.default_rng(seed).normal(size=2**qubits)
    for found, expected in zip(ours(circuit, theta, v), reference(circuit, theta, v), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def as_large(circuit: Circuit) -> Circuit:
    """The circuit, compiled as one of many qubits is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "PARTED", 1)
        patch.setattr(compiler, "PARTED", 1)
        assert circuit.program.qubits == circuit.qubits  # compiled here, and kept
    return circuit


@given(st.integers(0, 2**32), st.integers(1, 7), st.booleans(), st.sampled_from([by_pennylane, by_qiskit]))
@settings(max_examples=40, deadline=None)
def test_large_circuits_are_those_of_other_libraries(seed, qubits, real, reference) -> None:
    """Real matrices and phases instead of complex matrices, and matrices on parts of the states."""
    circuit = as_large(Circuit(random_circuit(seed, qubits, gates=30, parameters=3, real=real)))
    theta, v = angles(seed, 3), np.random.default_rng(seed).normal(size=2**qubits)
    expected = reference(circuit, theta, v)
    with pytest.MonkeyPatch.context() as patch:
        if qubits > 4:
            patch.setattr(arrays, "_LARGE", 2)
            patch.setattr(arrays, "_PART", 2)
        found = ours(circuit, theta, v)
        np.testing.assert_allclose(circuit.program.values(theta[None])[0], expected[0], rtol=0, atol=1e-10)
    tensors, pullback = circuit.program.evaluate(torch.from_numpy(theta[None]))
    for one in (found, (tensors[0].numpy(), pullback(torch.from_numpy(v[None]))[0].numpy())):
        for mine, theirs in zip(one, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-10)


def _layers(qubits: int, *names: str) -> QuantumCircuit:
    theta = iter(ParameterVector("theta", 3 * qubits * len(names)))
    circuit = QuantumCircuit(qubits)
    for _ in range(3):
        for name in names:
            for qubit in range(qubits):
                getattr(circuit, name)(next(theta), qubit)
        circuit.cx(range(qubits - 1), range(1, qubits))
    return circuit


@pytest.mark.parametrize("names", [("ry",), ("ry", "rz"), ("rx",), ("rz", "ry", "rz"), ("rx", "rx"), ("p", "ry")])
def test_large_circuits_as_they_are(names: tuple[str, ...]) -> None:
    """14 qubits: probabilities by Qiskit, three slopes by the parameter-shift rule."""
    qiskit = _layers(14, *names)
    program, theta = compile_circuit(qiskit), angles(1, qiskit.num_parameters)
    v = np.random.default_rng(1).normal(size=2**14)
    probabilities, pullback = program.evaluate(theta[None])

    def expected(point: np.ndarray) -> np.ndarray:
        return Statevector(qiskit.assign_parameters(point)).probabilities()

    np.testing.assert_allclose(probabilities[0], expected(theta), rtol=0, atol=1e-12)
    np.testing.assert_allclose(program.values(theta[None])[0], expected(theta), rtol=0, atol=1e-12)
    gradient = pullback(v[None])[0]
    for number in (0, 15 * len(names) + 3, len(theta) - 1):
        half = np.pi / 2 * np.eye(len(theta))[number]
        slope = v @ (expected(theta + half) - expected(theta - half)) / 2
        assert gradient[number] == pytest.approx(slope, abs=1e-10)


@pytest.mark.parametrize(
    ("names", "kinds", "real"),
    [
        (("ry", "rz"), [Monomial, Local, Diagonal, Monomial, Local, Diagonal, Monomial], True),
        (("rx",), [Monomial, Diagonal, Local, Diagonal, Monomial, Diagonal, Local, Diagonal, Monomial], True),
        (("ry",), [Monomial, Local, Monomial, Local, Monomial], False),  # all of it is real
        (("rx", "ry"), [Monomial, Local, Monomial, Local, Monomial], False),  # phases between real matrices
    ],
)
def test_large_layers_are_parted_where_they_can_be(names: tuple[str, ...], kinds: list[type], real: bool) -> None:
    plan = compile_circuit(_layers(14, *names)).plan
    assert [type(operation) for operation in plan.operations] == kinds
    groups = {
        group for operation in plan.operations if isinstance(operation, Local) for group, _, _ in operation.blocks
    }
    assert {plan.rotations.groups[group].real for group in groups} == {real}


def test_probabilities_alone_keep_no_states_and_gradients_one_for_each_line() -> None:
    program = compile_circuit(_layers(14, "ry", "rz"))
    theta, state = angles(0, program.parameters, batch=24), 16 * 2**14
    tracemalloc.start()
    found = program.values(theta)
    alone = tracemalloc.get_traced_memory()[1]
    probabilities, pullback = program.evaluate(theta)
    kept = tracemalloc.get_traced_memory()[0] - found.nbytes
    tracemalloc.stop()
    assert alone < found.nbytes + 6 * state
    assert 24 * state < kept < probabilities.nbytes + 30 * state
    assert pullback(np.ones((24, 2**14))).shape == theta.shape
    np.testing.assert_allclose(found, probabilities, rtol=0, atol=1e-15)


@pytest.mark.parametrize("qubits", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("real", [False, True])
def test_probabilities_are_those_of_qiskit(qubits: int, real: bool) -> None:
    for seed in range(3):
        circuit = random_circuit(seed, qubits, gates=30, parameters=3, real=real)
        theta = angles(seed, circuit.num_parameters, batch=2)
        found = compile_circuit(circuit).probabilities(torch.from_numpy(theta)).numpy()
        for line, values in zip(found, theta, strict=True):
            bound = circuit.assign_parameters(values)
            np.testing.assert_allclose(line, Statevector(bound).probabilities(), atol=1e-12)


def test_amplitudes_are_those_of_qiskit_up_to_a_phase() -> None:
    circuit = random_circuit(5, 4, gates=40, parameters=2)
    theta = angles(5, 2)
    found = compile_circuit(circuit).state(torch.from_numpy(theta[None])).numpy()[0]
    theirs = Statevector(circuit.assign_parameters(theta)).data
    assert abs(np.vdot(found, theirs)) == pytest.approx(1, abs=1e-12)


def test_qubit_0_is_the_least_significant_bit() -> None:
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.barrier()
    circuit.cx(0, 2)
    probabilities = compile_circuit(circuit).probabilities(torch.zeros(1, 0, dtype=torch.float64))
    assert probabilities[0].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("real", [False, True])
def test_real_circuits_are_computed_with_real_numbers(real: bool) -> None:
    circuit = random_circuit(1, 3, gates=30, parameters=2, real=real)
    state = compile_circuit(circuit).state(torch.zeros(1, 2, dtype=torch.float64))
    assert state.dtype == (torch.float64 if real else torch.complex128)


@pytest.mark.parametrize("qubits", [2, 5])
def test_the_gradient_is_the_limit_of_differences(qubits: int) -> None:
    circuit = random_circuit(3, qubits, gates=30, parameters=4)
    program, theta, h = compile_circuit(circuit), angles(3, 4), 1e-5
    v = np.random.default_rng(0).normal(size=2**qubits)
    point = torch.from_numpy(theta[None]).requires_grad_()
    (gradient,) = torch.autograd.grad(program.probabilities(point), point, torch.from_numpy(v[None]))

    def value(x: np.ndarray) -> float:
        return float(Statevector(circuit.assign_parameters(x)).probabilities() @ v)

    differences = [(value(theta + h * unit) - value(theta - h * unit)) / (2 * h) for unit in np.eye(4)]
    np.testing.assert_allclose(gradient[0].numpy(), differences, atol=1e-8)


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_a_batch_is_its_lines_one_by_one(seed, qubits, lines) -> None:
    """Also where a batch goes through the circuit in parts, and for tensors."""
    circuit = Circuit(random_circuit(seed, qubits, gates=30, parameters=3))
    theta, v = angles(seed, 3, batch=lines), np.random.default_rng(seed).normal(size=(lines, 2**qubits))
    expected = [ours(circuit, *line) for line in zip(theta, v, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statevector, "_AMPLITUDES", 4 * 2**qubits)
        probabilities, pullback = circuit.program.evaluate(theta)
    np.testing.assert_allclose(probabilities, [p for p, _ in expected], rtol=0, atol=1e-14)
    np.testing.assert_allclose(pullback(v), [gradient for _, gradient in expected], rtol=0, atol=1e-12)
    of_tensors, pullback = circuit.program.evaluate(torch.from_numpy(theta))
    np.testing.assert_allclose(of_tensors.numpy(), probabilities, rtol=0, atol=1e-14)
    np.testing.assert_allclose(pullback(torch.from_numpy(v)), [g for _, g in expected], rtol=0, atol=1e-12)


@given(st.integers(0, 2**32), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_real_numbers_give_what_complex_ones_give(seed, qubits) -> None:
    real = random_circuit(seed, qubits, gates=40, parameters=3, real=True)
    other = real.copy()
    other.rz(0.3, 0)  # changes phases only
    theta, v = angles(seed, 3), np.random.default_rng(seed).normal(size=2**qubits)
    assert compile_circuit(other).state(torch.from_numpy(theta[None])).is_complex()
    for found, expected in zip(ours(Circuit(real), theta, v), ours(Circuit(other), theta, v), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_autograd_goes_through_it_and_back_again() -> None:
    """Between other operations, twice, and not to second order."""
    circuit = Circuit(random_circuit(4, 3, gates=30, parameters=3))
    theta, v = angles(4, 3), np.random.default_rng(4).normal(size=8)
    point = torch.from_numpy(theta / 2).requires_grad_()
    probabilities = circuit.program.probabilities(2 * point[None])
    loss = (probabilities[0] * torch.from_numpy(v)).sum()
    for _ in range(2):
        (gradient,) = torch.autograd.grad(loss, point, retain_graph=True)
        np.testing.assert_allclose(gradient.numpy(), 2 * ours(circuit, theta, v)[1], rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(loss**2, point, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_gradient_takes_no_more_memory_in_a_deep_circuit() -> None:
    def peak(layers: int) -> int:
        qiskit = QuantumCircuit(16)
        theta = ParameterVector("theta", 16 * layers)
        for layer in range(layers):
            for qubit in range(16):
                qiskit.rx(theta[16 * layer + qubit], qubit)
            qiskit.cx(range(15), range(1, 16))
        program = compile_circuit(qiskit)
        tracemalloc.start()
        _, pullback = program.evaluate(angles(0, 16 * layers, batch=1))
        pullback(np.ones((1, 2**16)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    shallow, deep = peak(3), peak(30)
    assert shallow > 2 * 16 * 2**16  # two states of complex128
    assert deep < 1.5 * shallow  # each of 27 layers kept would be a state


@pytest.mark.parametrize(("controls", "state"), [(1, 0), (2, 1), (3, 5), (9, None), (9, 300)])
def test_controlled_flips_of_any_size(controls: int, state: int | None) -> None:
    circuit = QuantumCircuit(controls + 1)
    circuit.h(range(controls + 1))
    for qubit in range(controls + 1):
        circuit.ry(0.1 * qubit + 0.2, qubit)
    circuit.append(XGate().control(controls, ctrl_state=state), [*range(1, controls + 1), 0])
    _check_fixed(circuit)


def test_gates_that_are_made_of_others_become_matrices() -> None:
    circuit = random_circuit(0, 4, gates=30, parameters=1).assign_parameters([0.4])
    circuit.append(QFTGate(3), [3, 0, 2])
    circuit.append(random_circuit(1, 2, gates=9, parameters=1).assign_parameters([0.7]).to_gate(), [1, 3])
    circuit.rxx(0.3, 0, 2)
    _check_fixed(circuit)


def _check_fixed(circuit: QuantumCircuit) -> None:
    found = compile_circuit(circuit).probabilities(torch.zeros(1, 0, dtype=torch.float64))[0]
    np.testing.assert_allclose(found.numpy(), Statevector(circuit).probabilities(), rtol=0, atol=1e-12)


def test_gates_go_where_they_commute() -> None:
    """Rotations about Z around ZZ join the layer before them: one layer, one vector of phases, one more layer."""
    a = ParameterVector("a", 6)
    circuit = QuantumCircuit(3)
    circuit.h(range(3))
    circuit.rzz(a[0], 0, 1)
    circuit.rz(a[1], 1)
    circuit.rzz(a[2], 1, 2)
    circuit.rx(a[3], 0)
    circuit.rzz(a[4], 1, 2)
    circuit.rx(a[5], 1)
    assert [type(operation).__name__ for operation in compile_circuit(circuit).plan.operations] == ["Diagonal", "Local"]


def _measured() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    return circuit


def _with(name: str, *arguments: object) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    getattr(circuit, name)(*arguments)
    return circuit


def _large() -> QuantumCircuit:
    circuit = QuantumCircuit(9)
    circuit.append(QFTGate(9), range(9))
    return circuit


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (_measured(), "'measure'.*remove final measurements"),
        (_with("crx", Parameter("a"), 0, 1), "'crx'.*transpile"),
        (_with("reset", 0), "'reset'.*transpile"),
        (_with("append", Gate("secret", 2, []), [0, 1]), "'secret'.*transpile"),
        (_large(), "'qft'.*up to 8 qubits"),
        (QuantumCircuit(0), "without qubits.*at least one"),
        (_with("ry", Parameter("a") ** 2, 0), "linear in the parameters"),
    ],
)
def test_refuses_what_it_cannot_simulate(circuit: QuantumCircuit, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compile_circuit(circuit)


def test_refuses_another_number_of_parameters() -> None:
    with pytest.raises(ConfigError, match=r"3 parameters.*2, as the circuit has"):
        Circuit(_with("rz", Parameter("a") + Parameter("b"), 0)).program.probabilities(
            torch.zeros(1, 3, dtype=torch.float64)
        )
