"""Qiskit's simulator: ideal, or with the noise of a fake device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, final
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError, nearest
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum import gates
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import frequencies, require_parameters, table
from qfedfm.quantum.executor import FLIPPED, Executor, Outcome, flips
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.fake import fake, require_room

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_LARGEST = 10
"""Qubits whose density matrix is computed where a noisy circuit has no shots: 4¹⁰ numbers are 16 MB."""
_BINDABLE = frozenset({"rx", "ry", "rz", "p", "u", "rxx", "ryy", "rzz", "rzx", "barrier"})
"""Gates that Aer itself gives the lines of parameters to; controlled ones (``crx``) it runs at 0, without a word."""
_SEEDS = 2**31
_kept: WeakKeyDictionary[Circuit, dict[Any, QuantumCircuit]] = WeakKeyDictionary()


@part("aer", paper="Javadi-Abhari et al., arXiv 2405.08810 (2024) (Qiskit)")
@final
@dataclass(frozen=True)
class Aer(Executor):
    """The circuit in Qiskit Aer: exact probabilities, shots, or either under the noise of a fake device.

    With noise the circuit is transpiled to the device's gates and wiring once, with a fixed seed; the noise is Aer's
    model of the device's calibration: depolarising and thermal relaxation at each gate, and readout errors. With
    ``shots = None`` it is computed from the density matrix, readout errors included: what infinitely many shots give.

    Args:
        shots: of each circuit; None for probabilities.
        noise: the name of a fake device, ``manila`` for IBM's FakeManilaV2; None for the ideal circuit.
        method: of the simulation, as Aer calls it.

    Raises:
        ConfigError: fewer than one shot; (in `run`) no such device or method, too many qubits.
        MissingExtraError: (in `run`) qiskit-aer is not installed.

    Differs from the paper: nothing is calibrated anew; a fake device is a snapshot, which the real one has left behind.
    """

    shots: Annotated[int, Field(ge=1)] | None = None
    noise: str | None = None
    method: str = "automatic"

    def __post_init__(self) -> None:
        check_fields(self)

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        require_parameters(circuit, parameters)
        if self.noise is not None:
            require_room(self.noise, fake(self.noise).num_qubits, circuit.qubits)
            if self.shots is None and circuit.qubits > _LARGEST:
                given = f"the exact probabilities of {circuit.qubits} qubits with noise"
                raise ConfigError(given, f"at most {_LARGEST} qubits", "give a number of shots")
        prepared = self._prepared(circuit)
        data = self._data(circuit, prepared, parameters, key)
        if self.shots is not None:
            counts = table([line["counts"] for line in data], circuit.qubits)
            return frequencies(counts, "shots" if self.noise is None else "noise")
        exact = np.array([line["probabilities"] for line in data], np.float64)
        if self.noise is None:
            return Outcome(exact, None, len(parameters), 0)
        read = _misread(exact, self.noise, prepared.metadata["physical"])
        return Outcome(read, None, len(parameters), 0, "noise")

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        if self.noise is None:
            return super().calibration(circuit, key)
        flipped = Circuit(flips(circuit.qubits).qiskit)
        what = (self.noise, self.shots is None)
        _kept[flipped] = {what: _prepare(flipped.qiskit, *what, self._prepared(circuit).metadata["physical"])}
        return self.run(flipped, FLIPPED, key)

    def _data(self, circuit: Circuit, prepared: QuantumCircuit, parameters: np.ndarray, key: Key) -> list[Any]:
        """What the simulator gives for each line."""
        # transpiling drops parameters that change nothing, such as that of a last RZ
        order = {parameter: index for index, parameter in enumerate(circuit.qiskit.parameters)}
        columns = {parameter: parameters[:, order[parameter]].tolist() for parameter in prepared.parameters}
        simulator = _simulator(self.noise)
        options = {"seed_simulator": key.integer() % _SEEDS, "method": self._method(simulator)}
        if self.shots is not None:
            options["shots"] = self.shots
        free = {gate.operation.name for gate in prepared.data if gates.free(gate.operation)}
        if columns and free <= _BINDABLE:
            result = simulator.run(prepared, parameter_binds=[columns], **options).result()
        else:
            lines = [{name: column[line] for name, column in columns.items()} for line in range(len(parameters))]
            result = simulator.run([prepared.assign_parameters(line) for line in lines], **options).result()
        if not result.success:
            raise ConfigError(f"Aer refuses {circuit.qiskit.name!r}: {result.status}", "a circuit that it can simulate")
        return [result.data(line) for line in range(len(parameters))]

    def _method(self, simulator: Any) -> str:
        known = simulator.available_methods()
        if self.method not in known:
            raise ConfigError(f"executor 'aer': method = {self.method!r}", "", nearest(self.method, known))
        return "density_matrix" if self.noise is not None and self.shots is None else self.method

    def _prepared(self, circuit: Circuit) -> QuantumCircuit:
        """The circuit as the simulator runs it, made once."""
        made = _kept.setdefault(circuit, {})
        what = (self.noise, self.shots is None)
        if what not in made:
            place = None
            if self.noise is not None and circuit.like is not None:
                place = self._prepared(circuit.like).metadata["place"]
            made[what] = _prepare(circuit.qiskit, *what, place)
        return made[what]


@lru_cache(maxsize=8)
def _simulator(noise: str | None) -> Any:
    aer = cloud("qiskit_aer").AerSimulator
    return aer() if noise is None else aer.from_backend(fake(noise))


def _prepare(
    circuit: QuantumCircuit, noise: str | None, exact: bool, physical: list[int] | None = None
) -> QuantumCircuit:
    from qiskit import transpile

    made = circuit if exact else circuit.measure_all(inplace=False)
    if noise is None:
        made = transpile(made, _simulator(None), optimization_level=0)
        physical = place = list(range(circuit.num_qubits))
    else:
        made = transpile(made, fake(noise), optimization_level=1, seed_transpiler=0, initial_layout=physical)
        physical, place = made.layout.final_index_layout(), made.layout.initial_index_layout(filter_ancillas=True)
    if exact:
        made = made.copy()
        made.save_probabilities(physical)
    made.metadata = {"physical": physical, "place": place}
    return made


@lru_cache(maxsize=8)
def _readout(noise: str) -> dict[int, np.ndarray]:
    """For each qubit of a device, row a column m: how often m is read where a was."""
    errors = cloud("qiskit_aer.noise").NoiseModel.from_backend(fake(noise)).to_dict()["errors"]
    return {
        error["gate_qubits"][0][0]: np.array(error["probabilities"], np.float64)
        for error in errors
        if error["type"] == "roerror"
    }


def _misread(probabilities: np.ndarray, noise: str, physical: list[int]) -> np.ndarray:
    """The readout errors of each qubit on its bit of the outcomes."""
    errors, qubits = _readout(noise), len(physical)
    read = probabilities
    for bit, qubit in enumerate(physical):
        parts = read.reshape(len(read), 2 ** (qubits - 1 - bit), 2, 2**bit)
        read = np.einsum("bhal,ac->bhcl", parts, errors.get(qubit, np.eye(2))).reshape(len(read), -1)
    return read
