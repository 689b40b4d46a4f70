"""A provider that remembers what it was sent, and that can be made to fail."""

import json
from pathlib import Path

from qfedfm.core.errors import DeviceError
from qfedfm.quantum.cloud.provider import Look, Native, Provider, UnsettledError


class Double(Provider):
    """Keeps its jobs in a file, as a provider does; a job with a known uuid is the known job.

    Args:
        memory: the file.
        ones: how often a qubit is read as 1 in 100 shots of the canary.
    """

    seconds_between_looks = 1.0

    def __init__(self, memory: Path, ones: int = 95) -> None:
        super().__init__("double")
        self.memory, self.ones = memory, ones
        self.refuses = self.silent = self.gone = False
        self.state = "done"
        self.lost = 0
        self.counts: dict[str, int] | None = None

    @property
    def jobs(self) -> dict[str, dict]:
        return json.loads(self.memory.read_text()) if self.memory.exists() else {}

    def prepare(self, circuit):
        return Native(circuit, circuit.num_qubits, circuit.depth(), circuit.num_nonlocal_gates(), 0.9)

    def send(self, native, shots, uuid):
        if self.refuses:
            raise DeviceError("the double refuses", "", "")
        if self.gone:
            raise ConnectionError("gone before an answer")
        jobs = self.jobs
        jobs.setdefault(
            uuid, {"id": f"d{len(jobs)}", "name": native.circuit.name, "qubits": native.qubits, "shots": shots}
        )
        self.memory.write_text(json.dumps(jobs))
        return jobs[uuid]["id"]

    def find(self, uuid):
        if self.silent:
            raise UnsettledError("the double does not answer")
        return self.jobs[uuid]["id"] if uuid in self.jobs else None

    def look(self, job):
        if self.lost:
            self.lost -= 1
            raise ConnectionError("lost")
        (found,) = [known for known in self.jobs.values() if known["id"] == job]
        if found["name"] == "canary":
            n = found["qubits"]
            return Look("done", {"1" * n: self.ones, "0" * n: 100 - self.ones})
        counts = {"01": found["shots"]} if self.counts is None else self.counts
        return Look(self.state, counts if self.state == "done" else {}, 1.5, "why" if self.state == "failed" else "")

    def cancel(self, job):
        self.state = "cancelled"
