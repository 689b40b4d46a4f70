"""Amazon Braket as a provider."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.quantum.cloud.provider import Look, Native, Provider, State, UnsettledError
from qfedfm.quantum.executors.braket import in_our_order
from qfedfm.quantum.extra import cloud

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_STATES: dict[str, State] = {
    "CREATED": "queued",
    "QUEUED": "queued",
    "RUNNING": "running",
    "COMPLETED": "done",
    "FAILED": "failed",
    "CANCELLING": "running",
    "CANCELLED": "cancelled",
}
_TAG = "qfedfm"


class Device(Provider):
    """``braket:ARN``: the uuid is the client token of the task and one of its tags.

    The token makes Braket give the same task again where a request is repeated; the tag finds it. Credentials and
    region are those of the AWS environment. The service compiles a task for its device, so that depth and two-qubit
    gates are those before that; bits come with qubit 0 first and are turned round.
    """

    seconds_between_looks = 10.0

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if not name.startswith("arn:aws:braket:"):
            raise ConfigError(f"--backend braket:{name}", "braket:arn:aws:braket:REGION::device/qpu/…")

    @cached_property
    def session(self) -> Any:
        """The session in the device's region."""
        exceptions, boto3 = cloud("botocore.exceptions"), cloud("boto3")
        region = self.name.split(":")[3] or None
        try:
            return cloud("braket.aws").AwsSession(boto_session=boto3.Session(region_name=region))
        except (exceptions.BotoCoreError, exceptions.ClientError, ValueError) as error:
            raise self._no_credentials(error) from None

    def _no_credentials(self, error: Exception) -> ConfigError:
        given = f"braket:{self.name}: {str(error).strip()}"
        return ConfigError(
            given, "AWS credentials and a region", "set them up with `aws configure`, or try fake:manila"
        )

    def prepare(self, circuit: QuantumCircuit) -> Native:
        made = cloud("qiskit_braket_provider").to_braket(circuit, add_measurements=False)
        for qubit in range(circuit.num_qubits):
            if qubit not in {int(known) for known in made.qubits}:
                made.i(qubit)
        made.measure(range(circuit.num_qubits))
        two = sum(len(step.target) > 1 for step in made.instructions)
        return Native(made, circuit.num_qubits, int(made.depth), two)

    def send(self, native: Native, shots: int, uuid: str) -> str:
        serialization = cloud("braket.circuits.serialization")
        program = native.circuit.to_ir(
            ir_type=serialization.IRType.OPENQASM,
            serialization_properties=serialization.OpenQASMSerializationProperties(),
        )
        bucket, folder = self._asked(lambda: (self.session.default_bucket(), f"qfedfm/{uuid}"))
        return str(
            self._asked(
                lambda: self.session.create_quantum_task(
                    clientToken=uuid,
                    deviceArn=self.name,
                    action=program.json(),
                    deviceParameters="{}",
                    shots=shots,
                    outputS3Bucket=bucket,
                    outputS3KeyPrefix=folder,
                    tags={_TAG: uuid},
                )
            )
        )

    def find(self, uuid: str) -> str | None:
        filters = [{"name": "deviceArn", "operator": "EQUAL", "values": [self.name]}]
        try:
            pages = self.session.braket_client.get_paginator("search_quantum_tasks").paginate(filters=filters)
            for page in pages:
                for task in page["quantumTasks"]:
                    if (task.get("tags") or {}).get(_TAG) == uuid:
                        return str(task["quantumTaskArn"])
        except _errors() as error:
            raise UnsettledError(f"braket:{self.name} cannot say whether {uuid} was sent: {error}") from None
        return None

    def look(self, job: str) -> Look:
        task = self._asked(lambda: self.session.get_quantum_task(job))
        state = _STATES.get(task["status"], "queued")
        if state != "done":
            return Look(state, message=str(task.get("failureReason", "")))
        text = self._asked(
            lambda: self.session.retrieve_s3_object_body(
                task["outputS3Bucket"], f"{task['outputS3Directory']}/results.json"
            )
        )
        schema = cloud("braket.task_result").GateModelTaskResult.parse_raw(text)
        counts = cloud("braket.tasks").GateModelQuantumTaskResult.from_object(schema).measurement_counts
        return Look(state, in_our_order(counts))

    def cancel(self, job: str) -> None:
        self._asked(lambda: self.session.cancel_quantum_task(job))

    def _asked(self, request: Any) -> Any:
        exceptions = cloud("botocore.exceptions")
        try:
            return request()
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.NoRegionError) as error:
            raise self._no_credentials(error) from None
        except exceptions.ClientError as error:
            raise DeviceError(f"braket:{self.name} refuses: {str(error).strip()}") from None
        except exceptions.BotoCoreError as error:
            raise ConnectionError(f"braket:{self.name} does not answer: {str(error).strip()}") from None


def _errors() -> tuple[type[Exception], ...]:
    exceptions = cloud("botocore.exceptions")
    return (exceptions.BotoCoreError, exceptions.ClientError)
