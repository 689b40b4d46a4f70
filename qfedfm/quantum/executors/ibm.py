"""IBM's runtime: fake devices without a network, real ones with an account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, final
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import frequencies, require_parameters, table
from qfedfm.quantum.executor import FLIPPED, Executor, Outcome, flips
from qfedfm.quantum.extra import cloud, service
from qfedfm.quantum.fake import fake, require_room

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_FAKE = "fake:"
_SEEDS = 2**31
_USAGE = ("qpu_charge_time_seconds", "quantum_seconds", "seconds")
"""What the seconds on a device have been called, newest first."""
_kept: WeakKeyDictionary[Circuit, dict[str, QuantumCircuit]] = WeakKeyDictionary()


@part("ibm", paper="Javadi-Abhari et al., arXiv 2405.08810 (2024) (Qiskit and its primitives)")
@final
@dataclass(frozen=True)
class Ibm(Executor):
    """``shots`` outcomes of each circuit from IBM's sampler; all lines of parameters are one job.

    The circuit is transpiled once, with a fixed seed, to the gates and the wiring of the backend. A fake backend runs
    here, seeded by the key; a real one needs an account and draws by itself. No error suppression is switched on.

    Args:
        backend: ``fake:`` and a name, such as ``fake:manila``, or the name of a real device.
        shots: of each circuit.

    Raises:
        ConfigError: fewer than one shot; (in `run`) no account, no such backend, too many qubits.
        DeviceError: (in `run`) the service or the job failed.
        MissingExtraError: (in `run`) qiskit-ibm-runtime is not installed.
    """

    backend: str = "fake:manila"
    shots: Annotated[int, Field(ge=1)] = 1000

    def __post_init__(self) -> None:
        check_fields(self)

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        require_parameters(circuit, parameters)
        is_fake, backend = self.backend.startswith(_FAKE), self._backend()
        require_room(self.backend, backend.num_qubits, circuit.qubits)
        prepared = self._prepared(circuit, backend)
        # transpiling drops parameters that change nothing, such as that of a last RZ
        order = {parameter: index for index, parameter in enumerate(circuit.qiskit.parameters)}
        values = parameters[:, [order[parameter] for parameter in prepared.parameters]]
        sampler = cloud("qiskit_ibm_runtime.executor_sampler").Sampler(mode=backend)
        if is_fake:
            sampler.options.simulator.seed_simulator = key.integer() % _SEEDS
        lines = len(parameters)
        # IBM takes an array without columns for one line, whatever its length
        task = (prepared, values, self.shots) if values.size else (prepared, None, self.shots * lines)
        failures = cloud("qiskit.exceptions").QiskitError, cloud("requests.exceptions").RequestException
        with service(f"executor 'ibm' on {self.backend!r}", *failures):
            job = sampler.run([task])
            bits = job.result()[0].data.meas.reshape(lines, self.shots)
            seconds = 0.0 if is_fake else used_seconds(job.metrics())
        counts = table([bits.get_counts(line) for line in range(lines)], circuit.qubits)
        return frequencies(counts, "noise" if is_fake else "device", seconds)

    def calibration(self, circuit: Circuit, key: Key) -> Outcome:
        require_room(self.backend, self._backend().num_qubits, circuit.qubits)
        flipped = Circuit(flips(circuit.qubits).qiskit)
        self._prepared(flipped, self._backend(), self._prepared(circuit, self._backend()).layout.final_index_layout())
        return self.run(flipped, FLIPPED, key)

    def _backend(self) -> Any:
        name = self.backend
        return fake(name.removeprefix(_FAKE)) if name.startswith(_FAKE) else _real(name)

    def _prepared(self, circuit: Circuit, backend: Any, physical: list[int] | None = None) -> QuantumCircuit:
        """The circuit in the gates of the backend, made once; on the ``physical`` qubits where they are given."""
        from qiskit import transpile

        made = _kept.setdefault(circuit, {})
        if self.backend not in made:
            if physical is None and circuit.like is not None:
                physical = self._prepared(circuit.like, backend).layout.initial_index_layout(filter_ancillas=True)
            measured = circuit.qiskit.measure_all(inplace=False)
            made[self.backend] = transpile(
                measured, backend, optimization_level=1, seed_transpiler=0, initial_layout=physical
            )
        return made[self.backend]


def used_seconds(metrics: Mapping[str, Any]) -> float:
    """The seconds for which a job held a device, from what IBM reports of it; 0 where it does not say.

    Example:
        >>> used_seconds({"usage": {"quantum_seconds": 3}})
        3.0
    """
    usage = metrics.get("usage") or {}
    return float(next((usage[name] for name in _USAGE if usage.get(name) is not None), 0.0))


@lru_cache(maxsize=4)
def _real(name: str) -> Any:
    from qiskit.exceptions import QiskitError
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    given = f"executor 'ibm' with the backend {name!r}"
    try:
        return cloud("qiskit_ibm_runtime").QiskitRuntimeService().backend(name)
    except QiskitBackendNotFoundError:
        raise ConfigError(given, "a device that the account may use, or 'fake:manila'") from None
    except QiskitError as error:
        remedy = "store one once with QiskitRuntimeService.save_account(token=…), or use 'fake:manila'"
        raise ConfigError(f"{given}: {str(error).strip()}", "an account of IBM Quantum", remedy) from None
