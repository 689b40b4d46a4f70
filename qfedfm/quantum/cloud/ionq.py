"""IonQ's cloud as a provider."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.quantum.cloud.provider import Look, Native, Provider, State, UnsettledError
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.fake import require_room

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_STATES: dict[str, State] = {
    "submitted": "queued",
    "ready": "queued",
    "started": "running",
    "running": "running",
    "completed": "done",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "failed": "failed",
}
_TAG = "qfedfm"
_PAGE = 100


class Device(Provider):
    """``ionq:simulator`` or ``ionq:qpu.forte-1``: the uuid is in the job's metadata, where the list of jobs shows it.

    The key is what IonQ's own package finds, IONQ_API_KEY. IonQ compiles for its device: depth and two-qubit gates are
    those before that.
    """

    seconds_between_looks = 10.0

    @property
    def column(self) -> Any:  # type: ignore[override]
        """The simulator is no device."""
        return "shots" if self.name == "simulator" else "device"

    @cached_property
    def backend(self) -> Any:
        """The backend of IonQ's package.

        Raises:
            ConfigError: no key, or an unknown backend.
        """
        if not cloud("qiskit_ionq.helpers").resolve_credentials()["token"]:
            given = f"ionq:{self.name} and no key"
            raise ConfigError(given, "IonQ's API key in the environment", "export IONQ_API_KEY=…, or try fake:manila")
        with warnings.catch_warnings():
            # that Qiskit's default level of optimisation is too high for IonQ; `prepare` names its own
            warnings.simplefilter("ignore", cloud("qiskit_ionq.exceptions").IonQTranspileLevelWarning)
            return cloud("qiskit_ionq").IonQProvider().get_backend(self.name)

    def prepare(self, circuit: QuantumCircuit) -> Native:
        from qiskit import transpile

        require_room(f"ionq:{self.name}", self.backend.num_qubits, circuit.num_qubits)
        made = transpile(circuit.measure_all(inplace=False), self.backend, optimization_level=0)
        return Native(made, circuit.num_qubits, made.depth(), made.num_nonlocal_gates())

    def send(self, native: Native, shots: int, uuid: str) -> str:
        problems = self._problems()
        try:
            return str(self.backend.run(native.circuit, shots=shots, extra_metadata={_TAG: uuid}).job_id())
        except problems as error:
            raise DeviceError(f"ionq:{self.name} refuses the job: {str(error).strip()}") from None

    def find(self, uuid: str) -> str | None:
        client, after = self.backend.client, None
        lost: tuple[type[Exception], ...] = (*self._problems(), OSError, KeyError)
        try:
            while True:
                params = {"limit": _PAGE} | ({"next": after} if after else {})
                page = client.get_with_retry(client.make_path("jobs"), headers=client.api_headers, params=params).json()
                for job in page["jobs"]:
                    if (job.get("metadata") or {}).get(_TAG) == uuid:
                        return str(job["id"])
                after = page.get("next")
                if not after:
                    return None
        except lost as error:
            raise UnsettledError(f"ionq:{self.name} cannot say whether {uuid} was sent: {error}") from None

    def look(self, job: str) -> Look:
        found = self._job(job)
        state = _STATES.get(str(found.get("status")), "queued")
        if state == "done":
            result = self.backend.retrieve_job(job).result()
            counts = {key.replace(" ", ""): int(count) for key, count in result.get_counts().items()}
            return Look(state, counts, float(found.get("execution_duration_ms") or 0) / 1000)
        return Look(state, message=str(found.get("failure") or ""))

    def cancel(self, job: str) -> None:
        problems = self._problems()
        try:
            self.backend.client.cancel_job(job)
        except problems as error:
            raise DeviceError(f"ionq:{self.name} does not cancel {job}: {str(error).strip()}") from None

    def _job(self, job: str) -> dict[str, Any]:
        problems = self._problems()
        try:
            return dict(self.backend.client.retrieve_job(job))
        except problems as error:
            raise DeviceError(f"ionq:{self.name} does not give job {job}: {str(error).strip()}") from None

    def _problems(self) -> tuple[type[Exception], ...]:
        return (cloud("qiskit_ionq.exceptions").IonQError,)
