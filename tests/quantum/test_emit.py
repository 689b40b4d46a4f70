import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import CXGate, MCXGate, UnitaryGate, XGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Operator, Statevector, random_unitary

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.emit import FIXED, TURNS, operations
from qfedfm.quantum.executors.pennylane import PennyLane
from tests.quantum.circuits import angles, random_circuit


@pytest.mark.parametrize("name", [*FIXED, *TURNS])
def test_a_gate_has_the_same_matrix_in_both_libraries(name):
    import pennylane as qml

    kind = type(get_standard_gate_name_mapping()[name])
    gate = kind(*[0.37] * (name in TURNS))
    circuit = QuantumCircuit(gate.num_qubits)
    circuit.append(gate, range(gate.num_qubits)[::-1])
    (emitted,) = operations(circuit, np.zeros((1, 0)))
    found = qml.matrix(emitted, wire_order=range(gate.num_qubits)[::-1])
    np.testing.assert_allclose(found, Operator(circuit).data, atol=1e-12)
    assert type(emitted).__name__ == {**FIXED, **TURNS}[name]


@pytest.mark.parametrize(
    "gate",
    [XGate().control(3, ctrl_state="010"), CXGate(ctrl_state=0), MCXGate(4), UnitaryGate(random_unitary(8, seed=1))],
    ids=lambda gate: gate.name,
)
def test_open_controls_and_matrices_are_emitted(gate):
    import pennylane as qml

    circuit = QuantumCircuit(5)
    circuit.append(gate, [4, 1, 3, 0, 2][: gate.num_qubits])
    (emitted,) = operations(circuit, np.zeros((1, 0)))
    np.testing.assert_allclose(qml.matrix(emitted, wire_order=[4, 3, 2, 1, 0]), Operator(circuit).data, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_random_circuits_give_the_same_probabilities(seed):
    circuit, theta = random_circuit(seed, 4, 40, 5), angles(seed, 5, batch=3)
    circuit.barrier()
    expected = [Statevector(circuit.assign_parameters(line)).probabilities() for line in theta]
    found = PennyLane().run(Circuit(circuit), theta, Key.of(0)).probabilities
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_what_cannot_be_emitted_is_refused():
    free = QuantumCircuit(2)
    free.crx(Parameter("a"), 0, 1)
    squared = QuantumCircuit(1)
    squared.rx(Parameter("a") ** 2, 0)
    measured = QuantumCircuit(1)
    measured.measure_all()
    for circuit, match in ((free, "'crx'"), (squared, "linear"), (measured, "'measure'")):
        with pytest.raises(ConfigError, match=match):
            operations(circuit, np.zeros((1, circuit.num_parameters)))
    with pytest.raises(ConfigError, match="2 parameters; expected the circuit's 1"):
        operations(free, np.zeros((1, 2)))


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no device 'default.qbit'; did you mean 'default.qubit'\?"):
        PennyLane("default.qbit", column="shots").run(Circuit(QuantumCircuit(1)), np.zeros((1, 0)), Key.of(0))


def test_the_device_of_another_package_says_where_its_results_belong():
    with pytest.raises(ConfigError, match='as column = "shots", "noise" or "device"'):
        PennyLane("other.device")
    outcome = PennyLane("default.mixed", column="noise").run(Circuit(QuantumCircuit(1)), np.zeros((1, 0)), Key.of(0))
    assert outcome.column == "noise"
