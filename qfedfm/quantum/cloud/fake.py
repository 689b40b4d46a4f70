"""Fake devices as a provider: a job runs when it is sent, and a file beside the ledger remembers it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from qfedfm.core.errors import DeviceError
from qfedfm.quantum.cloud.ledger import default_path
from qfedfm.quantum.cloud.provider import Look, Native, Provider, kept_fidelity
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.fake import fake, require_room

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_SCHEMA = "CREATE TABLE IF NOT EXISTS jobs (uuid TEXT PRIMARY KEY, job TEXT UNIQUE, counts TEXT NOT NULL)"


class Device(Provider):
    """``fake:manila``: the noise, the wiring and the gates of a real device as they once were, simulated here.

    A job that carries a known uuid is the known job, as at a real provider; its shots are drawn by the simulator's own
    randomness, as a device's are.
    """

    column = "noise"
    seconds_between_looks = 0.2

    def __init__(self, name: str, memory: Path | None = None) -> None:
        super().__init__(name)
        self.memory = memory or default_path().with_name("fake-jobs.sqlite")

    def prepare(self, circuit: QuantumCircuit) -> Native:
        from qiskit import transpile

        backend = fake(self.name)
        require_room(f"fake:{self.name}", backend.num_qubits, circuit.num_qubits)
        measured = circuit.measure_all(inplace=False)
        made = transpile(measured, backend, optimization_level=3, seed_transpiler=0)
        kept = kept_fidelity(made, backend.target)
        return Native(made, circuit.num_qubits, made.depth(), made.num_nonlocal_gates(), kept)

    def send(self, native: Native, shots: int, uuid: str) -> str:
        known = self.find(uuid)
        if known is not None:
            return known
        simulator = cloud("qiskit_aer").AerSimulator.from_backend(fake(self.name))
        counts = simulator.run(native.circuit, shots=shots).result().get_counts()
        job = f"fake-{uuid[:8]}"
        with closing(self._open()) as connection, connection:
            connection.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?)", (uuid, job, json.dumps(counts)))
        return job

    def find(self, uuid: str) -> str | None:
        with closing(self._open()) as connection:
            row = connection.execute("SELECT job FROM jobs WHERE uuid = ?", (uuid,)).fetchone()
        return None if row is None else str(row[0])

    def look(self, job: str) -> Look:
        with closing(self._open()) as connection:
            row = connection.execute("SELECT counts FROM jobs WHERE job = ?", (job,)).fetchone()
        if row is None:
            raise DeviceError(f"no job {job!r} on fake:{self.name}", "", f"its memory is {self.memory}")
        return Look("done", json.loads(row[0]))

    def cancel(self, job: str) -> None:
        """A fake device runs a job at once: there is nothing to cancel."""
        self.look(job)

    def _open(self) -> sqlite3.Connection:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.memory, timeout=5)
        connection.execute(_SCHEMA)
        return connection
