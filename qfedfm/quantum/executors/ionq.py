"""IonQ's cloud: its simulator and its devices."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import draw, frequencies, require_parameters, table
from qfedfm.quantum.executor import Column, Executor, Outcome
from qfedfm.quantum.extra import cloud, service
from qfedfm.quantum.fake import require_room

_SIMULATOR = "simulator"
_SEEDS = 2**31


@part("ionq", paper="Chen et al., Quantum 8, 1516 (2024), arXiv 2308.05071 (one of the devices)")
@final
@dataclass(frozen=True)
class Ionq(Executor):
    """``shots`` outcomes of each circuit on IonQ's simulator or a device; all lines of parameters are one job.

    The ideal simulator answers with exact probabilities, from which the key draws the shots: the client of IonQ would
    draw all lines with one seed. With a noise model the service draws them, with a seed from the key. IonQ's all-to-all
    wiring leaves the qubits where they are. The seconds of a device are those of the whole job that IonQ reports.

    Args:
        backend: ``simulator``, or a device such as ``qpu.forte-1``.
        shots: of each circuit.
        noise: a noise model of the simulator, ``aria-1`` or ``forte-1``.

    Raises:
        ConfigError: fewer than one shot, or noise on a device; (in `run`) no token, an unknown backend.
        MissingExtraError: (in `run`) qiskit-ionq is not installed.
    """

    backend: str = _SIMULATOR
    shots: Annotated[int, Field(ge=1)] = 1000
    noise: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.backend != _SIMULATOR and not self.backend.startswith("qpu"):
            raise ConfigError(f"executor 'ionq': backend = {self.backend!r}", "'simulator' or a device 'qpu.…'")
        if self.backend != _SIMULATOR and self.noise is not None:
            raise ConfigError(f"executor 'ionq': noise = {self.noise!r} on {self.backend!r}", "noise of the simulator")

    @property
    def column(self) -> Column:
        """Where the results belong."""
        if self.backend != _SIMULATOR:
            return "device"
        return "shots" if self.noise is None else "noise"

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        require_parameters(circuit, parameters)
        backend = self._connected(key)
        require_room(self.backend, backend.num_qubits, circuit.qubits)
        tasks = bound(circuit, parameters, backend)
        failures = cloud("qiskit.exceptions").QiskitError, cloud("requests.exceptions").RequestException
        with service(f"executor 'ionq' on {self.backend!r}", *failures):
            job = backend.run(tasks if len(tasks) > 1 else tasks[0], shots=self.shots)
            job.wait_for_final_state()
            if job.status().name != "DONE":
                raise DeviceError(f"job {job.job_id()} of executor 'ionq' ended as {job.status().name}", "DONE")
            if self.column == "shots":
                exact = _probabilities(backend.client, job.job_id(), len(tasks), circuit.qubits)
                return draw(exact, self.shots, key, "shots")
            result = job.result()
        counts = table([result.get_counts(line) for line in range(len(tasks))], circuit.qubits)
        seconds = float(result.time_taken) if self.column == "device" else 0.0
        return frequencies(counts, self.column, seconds if np.isfinite(seconds) else 0.0)

    def _connected(self, key: Key) -> Any:
        # the provider asks the service how large its devices are, even without a token
        if not cloud("qiskit_ionq.helpers").resolve_credentials()["token"]:
            given = f"executor 'ionq' with the backend {self.backend!r} and no token"
            raise ConfigError(given, "IonQ's API key in the environment", "export IONQ_API_KEY=…")
        with warnings.catch_warnings():
            # that Qiskit's default level of optimisation is too high for IonQ; `bound` names its own
            warnings.simplefilter("ignore", cloud("qiskit_ionq.exceptions").IonQTranspileLevelWarning)
            backend = cloud("qiskit_ionq").IonQProvider().get_backend(self.backend)
        if self.backend == _SIMULATOR:
            backend.set_options(noise_model=self.noise or "ideal", sampler_seed=key.integer() % _SEEDS)
        return backend


def bound(circuit: Circuit, parameters: Float64[np.ndarray, "b p"], backend: Any) -> list[Any]:
    """The circuit for each line of parameters in IonQ's gates, measured."""
    from qiskit import transpile

    free = transpile(circuit.qiskit.measure_all(inplace=False), backend, optimization_level=0)
    order = {parameter: index for index, parameter in enumerate(circuit.qiskit.parameters)}
    which = [order[parameter] for parameter in free.parameters]
    tasks = [free.assign_parameters(line[which]) for line in parameters]
    for number, task in enumerate(tasks):
        task.name = f"line-{number}"
    return tasks


def _probabilities(client: Any, job: str, lines: int, qubits: int) -> Float64[np.ndarray, "b n"]:
    """What the ideal simulator computed, by outcomes whose bit q is qubit q."""
    url = client.retrieve_job(job)["results"]["probabilities"]["url"]
    answer = client.get_results(url)
    found = np.zeros((lines, 2**qubits))
    for row, line in zip(found, answer.values() if lines > 1 else [answer], strict=True):
        for outcome, probability in line.items():
            row[int(outcome)] = probability
    return found
