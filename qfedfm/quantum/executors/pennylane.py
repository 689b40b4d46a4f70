"""Any device of PennyLane, by name."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError, nearest
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import frequencies, require_parameters
from qfedfm.quantum.executor import Column, Executor, Outcome

_IDEAL = ("default.qubit", "default.mixed", "reference.qubit", "lightning.qubit", "lightning.kokkos", "lightning.gpu")
"""Devices that are known to run the ideal circuit."""


@part("pennylane", paper="Bergholm et al., arXiv 1811.04968 (2018)")
@final
@dataclass(frozen=True)
class PennyLane(Executor):
    """|⟨k|U(θ)|0⟩|² of a PennyLane device, or ``shots`` outcomes of it; the circuit is emitted gate by gate.

    A batch of parameters is one execution where the device takes parameter broadcasting, else one for each line. The
    key seeds devices that have a ``seed``; others draw their shots as they will.

    Args:
        device: a name that ``pennylane.device`` knows.
        shots: of each circuit; None for exact probabilities.
        column: where the results of a device belong that is no ideal simulator of PennyLane's own: such a name does not
            tell whether it is a simulator, has noise, or is a device.

    Raises:
        ConfigError: an unknown ``column``, fewer than one shot, or a device of another package without ``column``.
    """

    device: str = "default.qubit"
    shots: Annotated[int, Field(ge=1)] | None = None
    column: Column | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.device not in _IDEAL and self.column is None:
            given = f"executor 'pennylane' with the device {self.device!r}"
            remedy = 'say where its results belong, as column = "shots", "noise" or "device"'
            raise ConfigError(given, f"one of {', '.join(_IDEAL)}", remedy)

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        import pennylane as qml

        from qfedfm.quantum.emit import operations

        require_parameters(circuit, parameters)
        device = _device(self.device, circuit.qubits, key)
        measured = [qml.probs(wires=range(circuit.qubits)[::-1])]
        tape = qml.tape.QuantumScript(operations(circuit.qiskit, parameters), measured, shots=self.shots)
        # a circuit without parameters has no batch dimension; with a cache, equal tapes would share their shots
        tapes = [tape] if circuit.parameters else [tape] * len(parameters)
        found = qml.execute(tapes, device, diff_method=None, cache=False)
        probabilities = np.array(found, np.float64).reshape(len(parameters), 2**circuit.qubits)
        column = self.column or ("exact" if self.shots is None else "shots")
        if self.shots is None:
            return Outcome(probabilities, None, len(parameters), 0, column)
        return frequencies(np.rint(probabilities * self.shots).astype(np.int64), column)


def _device(name: str, qubits: int, key: Key) -> Any:
    import pennylane as qml

    try:
        device = qml.device(name, wires=qubits)
    except qml.exceptions.DeviceError:
        known = nearest(name, qml.plugin_devices)
        raise ConfigError(f"PennyLane has no device {name!r}", "", f"{known} or install its plugin") from None
    if "seed" not in inspect.signature(type(device).__init__).parameters:
        return device
    return qml.device(name, wires=qubits, seed=key.integer() % 2**32)
