"""What every provider of devices can do, and a provider by name."""

from __future__ import annotations

import abc
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from qfedfm.core.errors import ConfigError, DeviceError, nearest

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qfedfm.quantum.executor import Column

State = Literal["queued", "running", "done", "failed", "cancelled"]
KINDS = ("braket", "fake", "ibm", "ionq")


@dataclass(frozen=True)
class Native:
    """A circuit in a device's own gates, with what it takes.

    Args:
        circuit: as the provider sends it.
        qubits: of the circuit.
        depth: in the device's gates.
        two_qubit_gates: in the device's gates.
        fidelity: the product of what every gate and every readout keeps, by the device's calibration; None where the
            device does not tell.
    """

    circuit: Any
    qubits: int
    depth: int
    two_qubit_gates: int
    fidelity: float | None = None


@dataclass(frozen=True)
class Look:
    """How a job is doing.

    Args:
        state: where it is.
        counts: of a job that is done, by bit string, qubit 0 last.
        seconds: on the device, where the provider says.
        message: what the provider says of a failure.
    """

    state: State
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""


class UnsettledError(DeviceError):
    """Whether a job was sent cannot be found out now."""


class Provider(abc.ABC):
    """A device of a provider.

    Args:
        name: of the device, without the provider's.
    """

    column: Column = "device"
    seconds_between_looks: float = 5.0

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def prepare(self, circuit: QuantumCircuit) -> Native:
        """A circuit without free parameters and without measurements in the device's gates, all qubits measured.

        Raises:
            ConfigError: an unknown device, no credentials, too many qubits.
        """

    @abc.abstractmethod
    def send(self, native: Native, shots: int, uuid: str) -> str:
        """Submits a job that carries the uuid; gives the provider's id of it.

        Raises:
            DeviceError: the provider refuses it.
        """

    @abc.abstractmethod
    def find(self, uuid: str) -> str | None:
        """The provider's id of the job that carries a uuid, or None where there certainly is none.

        Raises:
            UnsettledError: the provider cannot tell now.
        """

    @abc.abstractmethod
    def look(self, job: str) -> Look:
        """How a job is doing; with its counts once it is done.

        Raises:
            DeviceError: the provider does not know it.
        """

    @abc.abstractmethod
    def cancel(self, job: str) -> None:
        """Asks for a job to be cancelled; what it then is, `look` tells."""


def quiet(line: str) -> None:
    """Says nothing."""


def provider(backend: str) -> Provider:
    """The device of ``ibm:NAME``, ``braket:ARN``, ``ionq:NAME`` or ``fake:NAME``; nothing is asked of it yet.

    Raises:
        ConfigError: another provider, or no name.
    """
    kind, _, name = backend.partition(":")
    if kind not in KINDS:
        expected = "ibm:NAME, braket:ARN, ionq:NAME or fake:NAME"
        raise ConfigError(f"--backend {backend!r}", expected, nearest(kind, KINDS))
    if not name:
        raise ConfigError(f"--backend {backend!r} without a device", f"{kind}:NAME, for example fake:manila")
    made: Provider = importlib.import_module(f"qfedfm.quantum.cloud.{kind}").Device(name)
    return made


def kept_fidelity(circuit: QuantumCircuit, target: Any) -> float | None:
    """∏ (1 − error) over gates and measurements of a transpiled circuit, by a Qiskit target; None without errors."""
    kept, known = 1.0, False
    for gate in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in gate.qubits)
        name = gate.operation.name
        properties = target[name].get(qubits) if name in target.operation_names and target[name] else None
        if properties is not None and properties.error is not None:
            kept, known = kept * (1 - min(properties.error, 1.0)), True
    return kept if known else None
