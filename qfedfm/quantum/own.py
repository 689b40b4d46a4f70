"""A circuit of the user's own where an ansatz is asked for: Qiskit's, PennyLane's, a function's, or a file's."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qfedfm.core.errors import ConfigError, QfedfmError
from qfedfm.quantum import gates
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.emit import FIXED, TURNS
from qfedfm.quantum.extra import cloud

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_EXPECTED = (
    "a Qiskit circuit, a PennyLane QNode or quantum function, 'module:name' of one or of a function that makes one for "
    "a number of qubits, or the path of an OpenQASM 3 file that ends with .qasm"
)
_INPUT = re.compile(r"^\s*input\s+(?:float|angle)(?:\[\d+\])?\s+(\w+)\s*;", re.MULTILINE)


def own_circuit(thing: Any, qubits: int) -> Circuit:
    """The user's circuit with its free parameters as one vector ``theta``, ready for every executor.

    Taken are

    - a Qiskit ``QuantumCircuit``: its parameters in the order of ``circuit.parameters``;
    - a PennyLane QNode or quantum function: its gates for symbolic angles. Its first argument has an array as default,
      the shape of which tells how many there are, counted row by row. Wire q is qubit q;
    - any other function: called with the number of qubits, it gives one of the above;
    - ``"module:name"``: what has that name in a module, one of the above;
    - ``"name.qasm"``: a file of OpenQASM 3, its parameters in the order in which they are declared.

    Qubit 0 is the least significant bit of an outcome. Final measurements are removed. Where a gate with a parameter is
    no rotation about a Pauli operator, the circuit is written with such gates.

    Raises:
        ConfigError: it is none of these, has other qubits, or holds what no ansatz may (measurements in the middle,
            channels, angles that are not linear in the parameters).
        MissingExtraError: a QASM file without the package that reads it.

    Example:
        >>> from qiskit import QuantumCircuit
        >>> from qiskit.circuit import Parameter
        >>> circuit = QuantumCircuit(2)
        >>> _ = circuit.ry(Parameter("a"), 0), circuit.cx(0, 1)
        >>> own_circuit(circuit, 2).parameters
        1
    """
    return _finished(_read(thing, qubits), qubits)


def _read(thing: Any, qubits: int, *, made: bool = False) -> QuantumCircuit:
    from qiskit import QuantumCircuit

    if isinstance(thing, QuantumCircuit):
        return thing
    if isinstance(thing, str) and not made:
        return _of_file(Path(thing)) if thing.endswith(".qasm") else _read(_named(thing), qubits)
    # whoever has a QNode has imported PennyLane, and nobody else need wait for it
    pennylane = sys.modules.get("pennylane")
    function = thing.func if pennylane is not None and isinstance(thing, pennylane.QNode) else thing
    if callable(function):
        shape = _shape(function)
        if shape is not None:
            return _traced(function, shape, qubits)
        if not made and function is thing:
            return _read(_made(function, qubits), qubits, made=True)
    raise ConfigError(f"an ansatz of type {type(thing).__name__}", _EXPECTED, _remedy(function))


def _remedy(function: Any) -> str:
    return "give its first argument a default, such as theta=np.zeros(8)" if callable(function) else ""


def _named(text: str) -> Any:
    module, _, name = text.partition(":")
    given = f"the ansatz {text!r}"
    if not name or not module or module.startswith("."):
        raise ConfigError(given, _EXPECTED)
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        remedy = "install its module or run in the folder where it lies"
        raise ConfigError(f"{given}: {error}", _EXPECTED, remedy) from error


def _made(function: Callable[..., Any], qubits: int) -> Any:
    try:
        return function(qubits)
    except (TypeError, ValueError) as error:
        given = f"the ansatz {getattr(function, '__name__', function)!r} refuses {qubits} qubits: {error}"
        raise ConfigError(given, _EXPECTED) from error


def _of_file(path: Path) -> QuantumCircuit:
    from qiskit import qasm3
    from qiskit.circuit import ParameterVector

    cloud("qiskit_qasm3_import")
    try:
        text = path.read_text(encoding="utf-8")
        circuit = qasm3.loads(text)
    except (OSError, UnicodeDecodeError, qasm3.QASM3ImporterError) as error:
        raise ConfigError(f"the ansatz {str(path)!r}: {error}", "a readable file of OpenQASM 3") from error
    by_name = {parameter.name: parameter for parameter in circuit.parameters}
    declared = [by_name[name] for name in _INPUT.findall(text) if name in by_name]
    if len(declared) != len(by_name):
        raise ConfigError(f"the ansatz {str(path)!r}", "each parameter declared on its own line, input float[64] name;")
    return circuit.assign_parameters(dict(zip(declared, ParameterVector("theta", len(declared)), strict=True)))


def _shape(function: Callable[..., Any]) -> tuple[int, ...] | None:
    """Of the array that is the default of its first argument; None without one."""
    import numpy as np

    try:
        first = next(iter(inspect.signature(function).parameters.values()), None)
    except (TypeError, ValueError):
        return None
    found = () if first is None or first.default is first.empty else np.shape(first.default)
    return found or None


def _traced(function: Callable[..., Any], shape: tuple[int, ...], qubits: int) -> QuantumCircuit:
    """The gates that a quantum function queues for symbolic angles."""
    import numpy as np
    import pennylane as qml
    from qiskit import QuantumCircuit
    from qiskit.circuit import ParameterVector

    theta = ParameterVector("theta", int(np.prod(shape)))
    symbols = np.array([*theta, None], object)[:-1].reshape(shape)
    name = getattr(function, "__name__", "a function")
    try:
        tape = qml.tape.make_qscript(function)(symbols)
    except QfedfmError:
        raise
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        given = f"the ansatz {name!r} fails for symbolic angles: {error}"
        raise ConfigError(given, "gates whose angles are sums of multiples of the parameters") from error
    circuit = QuantumCircuit(qubits, name=name)
    for operation in tape.operations:
        _import(circuit, operation)
    if circuit.num_parameters < len(theta):
        given = f"the ansatz {name!r}, which uses {circuit.num_parameters} of {len(theta)} angles"
        raise ConfigError(given, "a default of the first argument that has as many as are used")
    return circuit


_CONTROLLED = {"crx": "CRX", "cry": "CRY", "crz": "CRZ", "cp": "ControlledPhaseShift", "u": "U3"}
_TO_QISKIT: Mapping[str, str] = {name: ours for ours, name in {**TURNS, **FIXED, **_CONTROLLED}.items()}


def _import(circuit: QuantumCircuit, operation: Any) -> None:
    """Appends one operation of PennyLane, its decomposition, or its matrix."""
    import pennylane as qml

    name = operation.name
    if name in ("Barrier", "GlobalPhase", "Snapshot"):
        return
    if any(not isinstance(wire, int) or not 0 <= wire < circuit.num_qubits for wire in operation.wires):
        given = f"{name} on the wires {operation.wires.tolist()} of the ansatz {circuit.name!r}"
        raise ConfigError(given, f"wires 0 to {circuit.num_qubits - 1}, one for each qubit")
    wires = operation.wires.tolist()
    values = [_plain(value) for value in operation.parameters]
    if name in _TO_QISKIT:
        getattr(circuit, _TO_QISKIT[name])(*values, *wires)
    elif not any(_is_free(value) for value in values) and _small(operation):
        # Qiskit's first qubit is the lowest bit of a matrix, PennyLane's first wire the highest
        circuit.unitary(qml.matrix(operation), wires[::-1])
    else:
        for part in _parts(operation, circuit.name):
            _import(circuit, part)


def _parts(operation: Any, ansatz: str) -> list[Any]:
    given, expected = f"{operation.name} in the ansatz {ansatz!r}", "gates with a matrix, or with a decomposition"
    if not operation.has_decomposition:
        raise ConfigError(given, expected)
    try:
        return list(operation.decomposition())
    except (TypeError, ValueError, AttributeError, ImportError) as error:
        raise ConfigError(f"{given}: {error}", f"{expected} that takes symbolic angles") from error


def _small(operation: Any) -> bool:
    return bool(operation.has_matrix) and len(operation.wires) <= gates.LARGEST


def _plain(value: Any) -> Any:
    """A number or an expression instead of an array of one."""
    return value.item() if getattr(value, "shape", None) == () else value


def _is_free(value: Any) -> bool:
    import numpy as np

    return any(len(getattr(item, "parameters", ())) > 0 for item in np.ravel(np.asarray(value, object)))


def _finished(circuit: QuantumCircuit, qubits: int) -> Circuit:
    from qiskit import transpile
    from qiskit.circuit import ParameterVector

    if circuit.num_qubits != qubits:
        given = f"the ansatz {circuit.name!r} of {circuit.num_qubits} qubits"
        raise ConfigError(given, f"{qubits}", "give a function that makes one for a number of qubits")
    made = circuit.remove_final_measurements(inplace=False)
    if any(gates.free(item.operation) and item.operation.name not in TURNS for item in made.data):
        made = transpile(made, basis_gates=[*TURNS, *FIXED, "sdg", "tdg"], optimization_level=0)
    free = list(made.parameters)
    if not free:
        raise ConfigError(f"the ansatz {circuit.name!r} without free parameters", "at least one")
    own = made.assign_parameters(dict(zip(free, ParameterVector("theta", len(free)), strict=True)))
    found = Circuit(own)
    found.program, found.unrolled  # noqa: B018 (both refuse what they cannot take, in one line)
    return found
