"""Each provider's contract, offline: fake devices, the SDKs' own stubs and models, stand-ins for the network."""

import json

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import ANY, Stubber
from braket.aws import AwsSession
from braket.task_result import AdditionalMetadata, GateModelTaskResult, TaskMetadata
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.quantum.cloud import braket, fake, ibm, ionq
from qfedfm.quantum.cloud.provider import UnsettledError, provider
from qfedfm.quantum.cloud.submit import flipped
from tests.quantum.test_ionq import Service, answer

GARNET = "arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
TASK = "arn:aws:braket:eu-north-1:123456789012:quantum-task/1"


def lopsided():
    """|001⟩ and |011⟩: qubit 0 is 1, qubit 1 is even, qubit 2 is 0."""
    circuit = QuantumCircuit(3)
    circuit.x(0)
    circuit.h(1)
    return circuit


def mostly_lopsided(counts, shots):
    assert sum(counts.values()) == shots
    assert counts.get("001", 0) + counts.get("011", 0) > 0.8 * shots
    assert min(counts.get("001", 0), counts.get("011", 0)) > 0.3 * shots


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ("manila", "ibm:NAME, braket:ARN, ionq:NAME or fake:NAME"),
        ("imb:torino", "did you mean 'ibm'"),
        ("fake:", "without a device"),
        ("braket:Garnet", "arn:aws:braket"),
    ],
)
def test_a_name_that_is_none(backend, said):
    with pytest.raises(ConfigError, match=said):
        provider(backend)


def test_a_fake_device_remembers_by_uuid_in_any_process(tmp_path):
    device = fake.Device("manila", tmp_path / "memory.sqlite")
    native = device.prepare(lopsided())
    assert native.circuit.num_clbits == 3
    assert {"cx", "sx", "x", "rz", "measure", "barrier"} >= set(native.circuit.count_ops())
    assert 0.7 < native.fidelity < 1
    job = device.send(native, 2000, "uuid-1")
    assert device.send(native, 2000, "uuid-1") == job
    later = fake.Device("manila", tmp_path / "memory.sqlite")
    assert later.find("uuid-1") == job
    assert later.find("uuid-2") is None
    look = later.look(job)
    assert look.state == "done"
    mostly_lopsided(look.counts, 2000)
    later.cancel(job)
    with pytest.raises(DeviceError, match="no job 'other'"):
        later.look("other")


def test_the_expected_fidelity_falls_with_every_gate(tmp_path):
    device = fake.Device("manila", tmp_path / "memory.sqlite")
    longer = lopsided()
    for _ in range(4):
        longer.cx(0, 1)
        longer.ry(0.3, 1)
    assert device.prepare(longer).fidelity < device.prepare(lopsided()).fidelity < device.prepare(flipped(1)).fidelity


class Account:
    """Where IBM's service is: its jobs ran on a fake device, in the runtime's own local mode."""

    def __init__(self):
        self.kept = {}

    def backend(self, name):
        return FakeManilaV2()

    def jobs(self, job_tags, limit):
        return [job for job, tags in self.kept.values() if set(job_tags) <= set(tags)][:limit]

    def job(self, job):
        return self.kept[job][0]


@pytest.fixture
def account(monkeypatch):
    from qiskit_ibm_runtime.executor_sampler import Sampler

    made, run = Account(), Sampler.run

    def remembered(self, pubs):
        job = run(self, pubs)
        job.metrics = lambda: {"usage": {"quantum_seconds": 2.0}}
        made.kept[job.job_id()] = job, list(self.options.environment.job_tags)
        return job

    monkeypatch.setattr(Sampler, "run", remembered)
    monkeypatch.setattr(ibm.Device, "service", made)
    return made


def test_ibm_finds_a_job_by_its_tag_and_reads_it_in_our_order(account):
    device = ibm.Device("ibm_anything")
    native = device.prepare(lopsided())
    assert device.find("uuid-1") is None
    job = device.send(native, 1000, "uuid-1")
    assert device.find("uuid-1") == job
    look = device.look(job)
    while look.state != "done":
        look = device.look(job)
    mostly_lopsided(look.counts, 1000)
    assert look.seconds == 2.0


def test_ibm_that_does_not_answer_leaves_the_question_open(account, monkeypatch):
    from qiskit_ibm_runtime.exceptions import IBMRuntimeError

    def silent(*arguments, **options):
        raise IBMRuntimeError("503 for url")

    monkeypatch.setattr(account, "jobs", silent)
    monkeypatch.setattr(account, "job", silent)
    device = ibm.Device("ibm_anything")
    with pytest.raises(UnsettledError, match="cannot say whether uuid-1 was sent"):
        device.find("uuid-1")
    with pytest.raises(DeviceError, match="does not give job j"):
        device.look("j")


@pytest.fixture
def aws(monkeypatch):
    """A session of Braket whose client is botocore's own stub: requests and answers are held to AWS's model."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "region_name": "eu-north-1"}
    client = boto3.Session(**keys).client("braket")
    session = AwsSession(boto3.Session(**keys), braket_client=client, default_bucket="amazon-braket-mine")
    device = braket.Device(GARNET)
    device.__dict__["session"] = session
    with Stubber(client) as stub:
        yield device, stub, session
        stub.assert_no_pending_responses()


def task(**others):
    about = {
        "createdAt": "2026-11-01T00:00:00Z", "deviceArn": GARNET, "outputS3Bucket": "amazon-braket-mine",
        "outputS3Directory": "qfedfm/uuid-1/1", "quantumTaskArn": TASK, "shots": 4, "status": "COMPLETED",
    }  # fmt: skip
    return about | others


def test_braket_sends_the_uuid_as_token_and_tag(aws):
    device, stub, _ = aws
    native = device.prepare(lopsided())
    assert native.qubits == 3
    expected = {
        "clientToken": "uuid-1", "deviceArn": GARNET, "action": ANY, "deviceParameters": "{}", "shots": 4,
        "outputS3Bucket": "amazon-braket-mine", "outputS3KeyPrefix": "qfedfm/uuid-1", "tags": {"qfedfm": "uuid-1"},
    }  # fmt: skip
    stub.add_response("create_quantum_task", {"quantumTaskArn": TASK}, expected)
    assert device.send(native, 4, "uuid-1") == TASK


def test_the_program_that_braket_gets_is_the_circuit(aws):
    from braket.circuits import Circuit
    from braket.devices import LocalSimulator

    device, _, _ = aws
    native = device.prepare(lopsided())
    assert isinstance(native.circuit, Circuit)
    counts = LocalSimulator().run(native.circuit, shots=400).result().measurement_counts
    mostly_lopsided(braket.in_our_order(counts), 400)


def test_braket_finds_a_task_by_its_tag_on_any_page(aws):
    device, stub, _ = aws
    other = task()
    filters = [{"name": "deviceArn", "operator": "EQUAL", "values": [GARNET]}]
    stub.add_response("search_quantum_tasks", {"quantumTasks": [other], "nextToken": "more"}, {"filters": filters})
    mine = {"quantumTasks": [task(tags={"qfedfm": "uuid-1"})]}
    stub.add_response("search_quantum_tasks", mine, {"filters": filters, "nextToken": "more"})
    assert device.find("uuid-1") == TASK
    stub.add_response("search_quantum_tasks", {"quantumTasks": [other]}, {"filters": filters})
    assert device.find("uuid-1") is None
    stub.add_client_error("search_quantum_tasks", "ThrottlingException")
    with pytest.raises(UnsettledError, match="cannot say whether uuid-1"):
        device.find("uuid-1")


def test_braket_reads_a_result_in_our_order(aws, monkeypatch):
    device, stub, session = aws
    result = GateModelTaskResult(
        measurements=[[1, 0, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]],
        measuredQubits=[0, 1, 2],
        taskMetadata=TaskMetadata(id=TASK, shots=4, deviceId=GARNET),
        additionalMetadata=AdditionalMetadata(action={
            "braketSchemaHeader": {"name": "braket.ir.openqasm.program", "version": "1"}, "source": "OPENQASM 3.0;",
        }),
    )  # fmt: skip
    asked = []

    def body(bucket, path):
        asked.append((bucket, path))
        return result.json()

    monkeypatch.setattr(session, "retrieve_s3_object_body", body)
    asked_for = {"quantumTaskArn": TASK, "additionalAttributeNames": ["QueueInfo"]}
    for others in ({}, {"status": "FAILED", "failureReason": "calibration"}, {"status": "QUEUED"}):
        stub.add_response("get_quantum_task", task(deviceParameters="{}", **others), asked_for)
    look = device.look(TASK)
    assert (look.state, look.counts) == ("done", {"001": 2, "011": 2})
    assert asked == [("amazon-braket-mine", "qfedfm/uuid-1/1/results.json")]
    failed = device.look(TASK)
    assert (failed.state, failed.message) == ("failed", "calibration")
    assert device.look(TASK).state == "queued"


def test_braket_s_refusals_and_lost_connections_are_told_apart(aws, monkeypatch):
    device, stub, session = aws
    stub.add_client_error("get_quantum_task", "AccessDeniedException", "not yours")
    with pytest.raises(DeviceError, match="not yours"):
        device.look(TASK)
    stub.add_response("cancel_quantum_task", {"cancellationStatus": "CANCELLING", "quantumTaskArn": TASK})
    device.cancel(TASK)

    def lost(*arguments):
        raise EndpointConnectionError(endpoint_url="https://braket")

    monkeypatch.setattr(session, "get_quantum_task", lost)
    with pytest.raises(ConnectionError, match="does not answer"):
        device.look(TASK)


def test_without_credentials_braket_is_one_line(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    device = braket.Device(GARNET)
    with pytest.raises(ConfigError, match=r"AWS credentials.*aws configure"):
        device.look(TASK)


class Listing(Service):
    """The service of IonQ with its list of jobs, in pages of one."""

    def get(self, url, **options):
        if url.endswith("/jobs"):
            names = sorted(self.jobs)
            at = names.index(options["params"]["next"]) if "next" in options["params"] else 0
            page = [{"id": name, "metadata": self.jobs[name]["metadata"]} for name in names[at : at + 1]]
            return answer({"jobs": page, "next": names[at + 1] if at + 1 < len(names) else None})
        return super().get(url, **options)

    def put(self, url, **options):
        return answer({"id": url.split("/")[-3], "status": "canceled"})


@pytest.fixture
def cloud(monkeypatch):
    made = Listing()
    monkeypatch.setenv("IONQ_API_KEY", "secret")
    for module in ("ionq_client", "helpers"):
        monkeypatch.setattr(f"qiskit_ionq.{module}.requests.get", made.get)
        monkeypatch.setattr(f"qiskit_ionq.{module}.requests.post", made.post)
        monkeypatch.setattr(f"qiskit_ionq.{module}.requests.put", made.put)
    return made


def test_ionq_finds_a_job_by_its_metadata_and_reads_it_in_our_order(cloud):
    device = ionq.Device("qpu.forte-1")
    native = device.prepare(lopsided())
    assert device.find("uuid-2") is None
    first, second = device.send(native, 100, "uuid-1"), device.send(native, 100, "uuid-2")
    assert (device.find("uuid-1"), device.find("uuid-2"), device.find("uuid-3")) == (first, second, None)
    assert cloud.jobs[second]["metadata"]["qfedfm"] == "uuid-2"
    look = device.look(second)
    assert look.state == "done"
    mostly_lopsided(look.counts, 100)
    assert look.seconds == 2.5
    device.cancel(second)


def test_without_a_key_ionq_is_one_line(monkeypatch):
    monkeypatch.delenv("IONQ_API_KEY", raising=False)
    monkeypatch.delenv("QISKIT_IONQ_API_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=r"IonQ's API key"):
        ionq.Device("qpu.forte-1").prepare(lopsided())


def test_no_credentials_are_ever_written(cloud, tmp_path):
    from qfedfm.quantum.cloud.ledger import Ledger
    from qfedfm.quantum.cloud.submit import Request, plan, submit

    ledger, device = Ledger(tmp_path / "jobs.sqlite"), ionq.Device("qpu.forte-1")
    request = Request(lopsided(), "ionq:qpu.forte-1", 100)
    said = []
    submit(request, plan(request, device, None, ledger), device, ledger, said.append, sleep=lambda seconds: None)
    assert b"secret" not in ledger.path.read_bytes()
    assert "secret" not in json.dumps(said)
