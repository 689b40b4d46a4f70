"""Amazon Braket: its simulator on this machine, or its devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, final
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.counts import draw, frequencies, require_parameters, table
from qfedfm.quantum.executor import Executor, Outcome
from qfedfm.quantum.extra import cloud, service

_LOCAL = "local"
_kept: WeakKeyDictionary[Circuit, Any] = WeakKeyDictionary()


@part("braket", paper="Cross et al., arXiv 2104.14722 (2021) (OpenQASM 3, which Braket takes)")
@final
@dataclass(frozen=True)
class Braket(Executor):
    """The circuit on a device of Amazon Braket; all lines of parameters are one batch of tasks.

    The local simulator cannot be seeded. So it computes the exact probabilities, and shots are drawn from them by the
    key. Braket reports no seconds of a device: it charges tasks and shots.

    Args:
        device: ``local``, or the ARN of a device or a simulator in the cloud.
        shots: of each circuit; None for the exact probabilities of the local simulator.

    Raises:
        ConfigError: fewer than one shot, no ARN, or an ARN without shots; (in `run`) no credentials, no such device.
        DeviceError: (in `run`) the service or a task failed.
        MissingExtraError: (in `run`) the SDK or qiskit-braket-provider is not installed.
    """

    device: str = _LOCAL
    shots: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.device == _LOCAL:
            return
        if not self.device.startswith("arn:aws:braket:"):
            raise ConfigError(f"executor 'braket': device = {self.device!r}", f"{_LOCAL!r} or arn:aws:braket:…")
        if self.shots is None:
            raise ConfigError(f"executor 'braket' on {self.device} without shots", "a number of shots")

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        require_parameters(circuit, parameters)
        device = None if self.device == _LOCAL else _cloud_device(self.device)
        free = _translated(circuit)
        tasks = [free.make_bound_circuit({f"p{i}": float(x) for i, x in enumerate(line)}) for line in parameters]
        if device is None:
            exact = np.array([_exact(task, circuit.qubits) for task in tasks])
            return Outcome(exact, None, len(tasks), 0) if self.shots is None else draw(exact, self.shots, key, "shots")
        exceptions = cloud("botocore.exceptions")
        with service(
            f"executor 'braket' on {self.device}", exceptions.BotoCoreError, exceptions.ClientError, RuntimeError
        ):
            batch = device.run_batch([_measured(task, circuit.qubits) for task in tasks], shots=self.shots)
            results = batch.results(fail_unsuccessful=True)
        counts = table([in_our_order(result.measurement_counts) for result in results], circuit.qubits)
        return frequencies(counts, "device" if "/qpu/" in self.device else "shots")


def in_our_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Bit strings with qubit 0 first, as Braket writes them, with qubit 0 last.

    Example:
        >>> in_our_order({"100": 7})
        {'001': 7}
    """
    return {outcome[::-1]: int(count) for outcome, count in counts.items()}


def _translated(circuit: Circuit) -> Any:
    """The circuit in Braket's gates, with parameters p0, p1, … (its names may have no brackets), on all qubits."""
    from qiskit.circuit import Parameter

    if circuit not in _kept:
        names = {parameter: Parameter(f"p{index}") for index, parameter in enumerate(circuit.qiskit.parameters)}
        plain = circuit.qiskit.assign_parameters(names)
        made = cloud("qiskit_braket_provider").to_braket(plain, add_measurements=False)
        for qubit in set(range(circuit.qubits)) - {int(qubit) for qubit in made.qubits}:
            made.i(qubit)
        _kept[circuit] = made
    return _kept[circuit]


def _exact(task: Any, qubits: int) -> Float64[np.ndarray, " n"]:
    asked = task.copy().probability(target=range(qubits))
    found = cloud("braket.devices").LocalSimulator().run(asked, shots=0).result().values[0]
    return np.asarray(found, np.float64).reshape([2] * qubits).transpose().reshape(-1)


def _measured(task: Any, qubits: int) -> Any:
    return task.copy().measure(range(qubits))


@lru_cache(maxsize=4)
def _cloud_device(arn: str) -> Any:
    exceptions, device = cloud("botocore.exceptions"), cloud("braket.aws").AwsDevice
    try:
        return device(arn)
    except (exceptions.BotoCoreError, exceptions.ClientError, ValueError) as error:
        remedy = 'set them up with `aws configure`, or use device = "local"'
        given = f"executor 'braket' on {arn}: {str(error).strip()}"
        raise ConfigError(given, "AWS credentials, a region, and a device that they may use", remedy) from None
