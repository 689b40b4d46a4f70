import numpy as np
import pennylane as qml
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.statevector import compile_circuit
from tests.quantum.circuits import angles, random_circuit

PENNYLANE = {
    "rx": qml.RX, "ry": qml.RY, "rz": qml.RZ, "p": qml.PhaseShift, "rzz": qml.IsingZZ, "rxx": qml.IsingXX, "ryy": qml.IsingYY, "h": qml.Hadamard,
    "x": qml.PauliX, "y": qml.PauliY, "z": qml.PauliZ, "s": qml.S, "tdg": lambda wires: qml.adjoint(qml.T(wires)),
    "sx": qml.SX, "cx": qml.CNOT, "cz": qml.CZ, "cy": qml.CY, "swap": qml.SWAP, "iswap": qml.ISWAP, "ccx": qml.Toffoli,
    "ecr": lambda wires: qml.ECR(wires=wires), "ch": qml.CH, "cs": lambda wires: qml.ctrl(qml.S(wires[1]), control=wires[0]),
}  # fmt: skip


def by_pennylane(circuit: QuantumCircuit) -> np.ndarray:
    """The probabilities of a circuit without free parameters; PennyLane puts its first wire in the highest bit."""

    @qml.qnode(qml.device("default.qubit"))
    def node():
        for gate in circuit.data:
            wires = [circuit.find_bit(qubit).index for qubit in gate.qubits]
            PENNYLANE[gate.operation.name](*[float(value) for value in gate.operation.params], wires=wires)
        return qml.probs(wires=range(circuit.num_qubits)[::-1])

    return np.asarray(node())


@pytest.mark.parametrize("qubits", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("real", [False, True])
def test_probabilities_are_those_of_qiskit_and_pennylane(qubits: int, real: bool) -> None:
    for seed in range(3):
        circuit = random_circuit(seed, qubits, gates=30, parameters=3, real=real)
        theta = angles(seed, circuit.num_parameters, batch=2)
        ours = compile_circuit(circuit).probabilities(torch.from_numpy(theta)).numpy()
        for line, values in zip(ours, theta, strict=True):
            bound = circuit.assign_parameters(values)
            np.testing.assert_allclose(line, Statevector(bound).probabilities(), atol=1e-12)
            np.testing.assert_allclose(line, by_pennylane(bound), atol=1e-10)


def test_amplitudes_are_those_of_qiskit_up_to_a_phase() -> None:
    circuit = random_circuit(5, 4, gates=40, parameters=2)
    theta = angles(5, 2)
    ours = compile_circuit(circuit).state(torch.from_numpy(theta[None])).numpy()[0]
    theirs = Statevector(circuit.assign_parameters(theta)).data
    assert abs(np.vdot(ours, theirs)) == pytest.approx(1, abs=1e-12)


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


def _measured() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    return circuit


def _with(name: str, *arguments: object) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    getattr(circuit, name)(*arguments)
    return circuit


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (_measured(), "'measure'.*remove final measurements"),
        (_with("crx", Parameter("a"), 0, 1), "'crx'.*transpile"),
        (_with("reset", 0), "'reset'.*transpile"),
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
