import sys

import numpy as np
import pennylane as qml
import pytest
from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError, MissingExtraError
from qfedfm.core.key import Key
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.quantum.own import own_circuit

ONE, TWO, EIGHT = np.zeros(1), np.zeros(2), np.zeros((2, 4))
DEVICE = qml.device("default.qubit", wires=3)


def probabilities(thing, theta, qubits=3):
    return Exact().run(own_circuit(thing, qubits), theta[None], Key.of(0)).probabilities[0]


def layered(theta=EIGHT):
    """All gates of the importer's kinds: shared angles, sums, templates, matrices, adjoints, other wires' order."""
    qml.Hadamard(wires=1)
    qml.RY(theta[0, 0], wires=0)
    qml.RX(2 * theta[0, 1] - theta[1, 3] + 0.3, wires=2)
    qml.CNOT(wires=[2, 0])
    qml.Barrier(wires=[0, 1])
    qml.adjoint(qml.S)(wires=1)
    qml.IsingZZ(theta[0, 2], wires=[1, 2])
    qml.QubitUnitary(qml.matrix(qml.CRot(0.3, 0.5, -0.2, wires=[0, 1])), wires=[2, 0])
    qml.MultiControlledX(wires=[0, 1, 2], control_values=[False, True])
    qml.CRX(theta[0, 3], wires=[0, 2])
    qml.ControlledPhaseShift(theta[1, 0], wires=[1, 0])
    qml.Rot(theta[1, 1], 0.1, -theta[0, 2], wires=1)
    qml.BasicEntanglerLayers(theta[1:, :3], wires=[2, 0, 1])
    qml.PhaseShift(theta[0, 0], wires=1)
    qml.RY(theta[1, 3], wires=1)
    return qml.probs(wires=[2, 1, 0])


@pytest.mark.parametrize("wrap", [lambda function: function, lambda function: qml.QNode(function, DEVICE)])
def test_a_quantum_function_gives_what_pennylane_gives(wrap):
    theta = Key.of(3).numpy().uniform(-3, 3, 8)
    expected = qml.QNode(layered, DEVICE)(theta.reshape(2, 4))
    np.testing.assert_allclose(probabilities(wrap(layered), theta), expected, atol=1e-10)


def test_a_circuit_of_qiskit_keeps_the_order_of_its_parameters():
    """Named by letters, with controlled rotations and final measurements."""
    circuit, theta = QuantumCircuit(2), Key.of(0).numpy().uniform(-3, 3, 3)
    c, a, b = (Parameter(name) for name in "cab")
    circuit.ry(c, 0)
    circuit.crx(a + b, 0, 1)
    circuit.cp(2 * b, 1, 0)
    circuit.ry(b - 1, 0)
    expected = Statevector(circuit.assign_parameters({a: theta[0], b: theta[1], c: theta[2]})).probabilities()
    circuit.measure_all()
    np.testing.assert_allclose(probabilities(circuit, theta, 2), expected, atol=1e-10)


def test_a_file_of_openqasm_keeps_the_order_of_its_declarations(tmp_path):
    """Of more than ten parameters, which an order by name would mix up."""
    circuit, theta = born_circuit(3, 3), Key.of(0).numpy().uniform(-3, 3, 12)
    path = tmp_path / "mine.qasm"
    path.write_text(qasm3.dumps(circuit.measure_all(inplace=False)), encoding="utf-8")
    expected = Statevector(circuit.assign_parameters(theta)).probabilities()
    np.testing.assert_allclose(probabilities(str(path), theta), expected, atol=1e-12)


def test_a_name_stands_for_a_circuit_or_for_what_makes_one(tmp_path, monkeypatch):
    (tmp_path / "mine_of_test.py").write_text(
        "from qfedfm.quantum.ansatz import born_circuit\n"
        "from tests.quantum.test_own import layered\n"
        "def make(qubits):\n    return born_circuit(qubits, 1)\n"
        "def other(qubits):\n    return layered\n"
        "ready = born_circuit(3, 1)\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, parameters in (("make", 6), ("other", 8), ("ready", 6)):
        assert own_circuit(f"mine_of_test:{name}", 3).parameters == parameters
    assert own_circuit("mine_of_test:make", 2).parameters == 4
    for name, match in (
        ("mine_of_test:number", "an ansatz of type int"),
        ("mine_of_test:none", "has no attribute 'none'"),
        ("no_such_module_here:x", "install its module"),
        ("mine_of_test", "'module:name'"),
    ):
        with pytest.raises(ConfigError, match=match):
            own_circuit(name, 3)


def channel(theta=ONE):
    qml.RY(theta[0], wires=0)
    qml.AmplitudeDamping(0.1, wires=0)


def squared(theta=ONE):
    qml.RY(theta[0] ** 2, wires=0)


def compared(theta=ONE):
    if theta[0] > 0:
        qml.RY(theta[0], wires=0)


def wide(theta=ONE):
    qml.RY(theta[0], wires=5)


def unused(theta=TWO):
    qml.RY(theta[0], wires=0)


def measured(theta=ONE):
    qml.measure(0)
    qml.RY(theta[0], wires=0)


def without_default(theta):
    qml.RY(theta[0], wires=0)


def middle(qubits):
    circuit = QuantumCircuit(qubits, 1)
    circuit.measure(0, 0)
    circuit.ry(ParameterVector("x", 1)[0], 0)
    return circuit


@pytest.mark.parametrize(
    ("thing", "match"),
    [
        (channel, "AmplitudeDamping"),
        (squared, "linear"),
        (compared, "symbolic"),
        (wide, "wires 0 to 0"),
        (unused, "uses 1 of 2 angles"),
        (measured, "MidMeasure"),
        (qml.QNode(without_default, DEVICE), "default, such as theta"),
        (without_default, "refuses 1 qubits|an ansatz of type"),
        (middle, "'measure'"),
        (QuantumCircuit(1), "without free parameters"),
        (born_circuit(2, 1), "of 2 qubits; expected 1"),
        (3.5, "an ansatz of type float"),
        ("missing.qasm", "a readable file"),
    ],
)
def test_what_is_no_ansatz_is_refused_in_one_line(thing, match):
    with pytest.raises(ConfigError, match=match) as caught:
        own_circuit(thing, 1)
    assert "\n" not in str(caught.value)


def test_a_file_without_the_package_that_reads_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "qiskit_qasm3_import", None)
    with pytest.raises(MissingExtraError, match="qiskit_qasm3_import is not installed"):
        own_circuit(str(tmp_path / "mine.qasm"), 1)


def test_a_file_that_is_no_qasm(tmp_path):
    path = tmp_path / "mine.qasm"
    path.write_text("OPENQASM 3.0;\nqubit[1] q;\nnonsense q[0];\n")
    with pytest.raises(ConfigError, match=r"mine\.qasm"):
        own_circuit(str(path), 1)
