"""IBM Quantum as a provider."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.quantum.cloud.provider import Look, Native, Provider, State, UnsettledError, kept_fidelity
from qfedfm.quantum.executors.ibm import used_seconds
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.fake import require_room

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_STATES: dict[str, State] = {
    "QUEUED": "queued",
    "INITIALIZING": "queued",
    "VALIDATING": "queued",
    "RUNNING": "running",
    "DONE": "done",
    "CANCELLED": "cancelled",
    "ERROR": "failed",
}


class Device(Provider):
    """``ibm:NAME``: the sampler of IBM's runtime; the uuid is the job's tag, by which it is found again.

    Credentials are those that `QiskitRuntimeService` finds by itself: a saved account or its environment variables.
    """

    seconds_between_looks = 10.0

    @cached_property
    def service(self) -> Any:
        """The account.

        Raises:
            ConfigError: there is none.
        """
        from qiskit.exceptions import QiskitError

        runtime = cloud("qiskit_ibm_runtime")
        try:
            return runtime.QiskitRuntimeService()
        except QiskitError as error:
            remedy = "store one once with QiskitRuntimeService.save_account(token=…), or try fake:manila"
            given = f"ibm:{self.name}: {str(error).strip()}"
            raise ConfigError(given, "an account of IBM Quantum", remedy) from None

    @cached_property
    def backend(self) -> Any:
        """The device.

        Raises:
            ConfigError: the account has no device of that name.
        """
        from qiskit.exceptions import QiskitError
        from qiskit.providers.exceptions import QiskitBackendNotFoundError

        try:
            return self.service.backend(self.name)
        except QiskitBackendNotFoundError:
            raise ConfigError(f"no device ibm:{self.name}", "one that the account may use") from None
        except QiskitError as error:
            raise DeviceError(f"ibm:{self.name} does not answer: {str(error).strip()}") from None

    def prepare(self, circuit: QuantumCircuit) -> Native:
        from qiskit import transpile

        require_room(f"ibm:{self.name}", self.backend.num_qubits, circuit.num_qubits)
        measured = circuit.measure_all(inplace=False)
        made = transpile(measured, self.backend, optimization_level=3, seed_transpiler=0)
        kept = kept_fidelity(made, self.backend.target)
        return Native(made, circuit.num_qubits, made.depth(), made.num_nonlocal_gates(), kept)

    def send(self, native: Native, shots: int, uuid: str) -> str:
        from qiskit.exceptions import QiskitError

        sampler = cloud("qiskit_ibm_runtime.executor_sampler").Sampler(mode=self.backend)
        sampler.options.environment.job_tags = [uuid]
        try:
            return str(sampler.run([(native.circuit, None, shots)]).job_id())
        except QiskitError as error:
            raise DeviceError(f"ibm:{self.name} refuses the job: {str(error).strip()}") from None

    def find(self, uuid: str) -> str | None:
        from qiskit.exceptions import QiskitError

        try:
            found = self.service.jobs(job_tags=[uuid], limit=2)
        except QiskitError as error:
            raise UnsettledError(f"ibm:{self.name} cannot say whether {uuid} was sent: {error}") from None
        return str(found[0].job_id()) if found else None

    def look(self, job: str) -> Look:
        found = self._job(job)
        state = _STATES.get(_name(found.status()), "queued")
        if state == "done":
            bits = found.result()[0].data.meas
            return Look(state, bits.get_counts(), used_seconds(found.metrics()))
        message = str(found.error_message() or "") if state == "failed" else ""
        return Look(state, message=message)

    def cancel(self, job: str) -> None:
        self._job(job).cancel()

    def _job(self, job: str) -> Any:
        from qiskit.exceptions import QiskitError

        try:
            return self.service.job(job)
        except QiskitError as error:
            raise DeviceError(f"ibm:{self.name} does not give job {job}: {str(error).strip()}") from None


def _name(status: Any) -> str:
    """A status is a text in newer versions and an enumeration in older ones."""
    return str(getattr(status, "name", status))
