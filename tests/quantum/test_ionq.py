"""The executor of IonQ against a stand-in of its service: the payloads are the SDK's own, simulated in numpy here."""

import json
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.core.key import Key
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.catalogue import catalogue
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors.ionq import Ionq
from tests.quantum.chi2 import p_value

X, Y, Z = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])
PAULI = {"x": X, "y": Y, "z": Z}
FIXED = {
    **PAULI,
    "h": (X + Z) / np.sqrt(2),
    "s": np.diag([1, 1j]),
    "si": np.diag([1, -1j]),
    "v": (np.eye(2) + X + 1j * (np.eye(2) - X)) / 2,
}


def matrix(gate):
    """What IonQ's documentation says of a gate of its "qis" set: rotations are exp(−i rotation P / 2)."""
    if "rotation" not in gate:
        return FIXED[gate["gate"]]
    name, angle = gate["gate"].removeprefix("r"), gate["rotation"]
    generator = np.ones((1, 1))
    for letter in name:
        generator = np.kron(generator, PAULI[letter])
    return np.cos(angle / 2) * np.eye(len(generator)) - 1j * np.sin(angle / 2) * generator


def probabilities(gates, qubits):
    """Of a list of gates, by axis: axis q of the state is qubit q."""
    state = np.zeros([2] * qubits, complex)
    state[(0,) * qubits] = 1
    for gate in gates:
        targets, controls = gate["targets"], gate.get("controls", [])
        where = tuple(1 if qubit in controls else slice(None) for qubit in range(qubits))
        axes = [target - sum(control < target for control in controls) for target in targets]
        part = np.moveaxis(state[where], axes, range(len(axes)))
        moved = (matrix(gate) @ part.reshape(2 ** len(axes), -1)).reshape(part.shape)
        state[where] = np.moveaxis(moved, range(len(axes)), axes)
    flat = np.abs(state.transpose().reshape(-1)) ** 2
    return {str(outcome): float(p) for outcome, p in enumerate(flat) if p > 1e-15}


class Service:
    """Takes jobs over HTTP as the SDK sends them, and answers as version 0.4 of the interface does."""

    def __init__(self):
        self.jobs, self.numbers = {}, count()

    def post(self, url, data, headers, timeout):
        assert headers["Authorization"] == "apiKey secret"
        name = f"job{next(self.numbers)}"
        self.jobs[name] = json.loads(data)
        return answer({"id": name, "status": "submitted"})

    def get(self, url, **options):
        path = url.removeprefix("https://api.ionq.co/v0.4/").split("/")
        if path[0] == "backends":
            return answer({"qubits": 29})
        job = self.jobs[path[1]]
        circuits = job["input"].get("circuits") or [{"circuit": job["input"]["circuit"]}]
        if len(path) > 2:
            found = [probabilities(item["circuit"], job["input"]["qubits"]) for item in circuits]
            return answer({f"child{i}": line for i, line in enumerate(found)} if len(found) > 1 else found[0])
        return answer(
            {
                "status": "completed",
                "metadata": job["metadata"],
                "stats": {"circuits": len(circuits), "qubits": job["input"]["qubits"]},
                "execution_duration_ms": 2500,
                "results": {"probabilities": {"url": f"/v0.4/jobs/{path[1]}/results/probabilities"}},
            }
        )


def answer(content):
    return SimpleNamespace(status_code=200, json=lambda: content, text=json.dumps(content))


@pytest.fixture
def service(monkeypatch):
    """Stands where `requests` reaches the network, with a key in the environment."""
    made = Service()
    monkeypatch.setenv("IONQ_API_KEY", "secret")
    for module in ("ionq_client", "helpers"):
        monkeypatch.setattr(f"qiskit_ionq.{module}.requests.get", made.get)
        monkeypatch.setattr(f"qiskit_ionq.{module}.requests.post", made.post)
    return made


@pytest.mark.parametrize("piece", catalogue(), ids=lambda piece: piece.name)
def test_the_payload_is_the_circuit(service, piece):
    circuit = Circuit(piece.circuit)
    theta = Key.of(0).fold(piece.name).numpy().uniform(-3, 3, (3, circuit.parameters))
    outcome = Ionq(shots=2000).run(circuit, theta, Key.of(0))
    (job,) = service.jobs.values()
    found = np.array([list(_dense(item["circuit"], circuit.qubits)) for item in job["input"]["circuits"]])
    exact, _ = circuit.program.evaluate(theta)
    np.testing.assert_allclose(found, exact, atol=1e-9)
    assert (outcome.column, outcome.shots, job["backend"], job["shots"]) == ("shots", 6000, "simulator", 2000)
    assert min(p_value(*pair) for pair in zip(outcome.counts, exact, strict=True)) > 1e-5


def _dense(gates, qubits):
    found = probabilities(gates, qubits)
    return (found.get(str(outcome), 0.0) for outcome in range(2**qubits))


def test_the_key_decides_and_equal_lines_are_drawn_independently(service):
    circuit, theta = Circuit(born_circuit(2, 1)), np.ones((3, 4))
    one, again, other = (Ionq(shots=500).run(circuit, theta, Key.of(seed)).counts for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len({tuple(line) for line in one.tolist()}) == 3


@pytest.mark.parametrize("lines", [1, 2])
def test_a_device(service, lines):
    circuit = Circuit(born_circuit(3, 1))
    theta = np.zeros((lines, 6))
    theta[:, 1] = np.pi
    outcome = Ionq("qpu.forte-1", shots=100).run(circuit, theta, Key.of(0))
    (job,) = service.jobs.values()
    exact, _ = circuit.program.evaluate(theta)
    np.testing.assert_allclose(outcome.probabilities, exact, atol=1e-9)
    assert (outcome.column, outcome.device_seconds, job["backend"]) == ("device", 2.5, "qpu.forte-1")


def test_a_noise_model_of_the_simulator(service):
    outcome = Ionq(noise="forte-1", shots=100).run(Circuit(born_circuit(2, 1)), np.zeros((1, 4)), Key.of(0))
    (job,) = service.jobs.values()
    assert (outcome.column, job["noise"]["model"]) == ("noise", "forte-1")
    assert isinstance(job["noise"]["seed"], int)


def test_a_job_that_fails_is_one_clear_line(service, monkeypatch):
    refused = {"statusCode": 400, "error": "Bad Request", "message": "no such backend"}
    answered = answer(refused)
    answered.status_code, answered.request = 400, SimpleNamespace(method="POST")
    answered.headers = {"Content-Type": "application/json"}
    monkeypatch.setattr("qiskit_ionq.ionq_client.requests.post", lambda *args, **options: answered)
    with pytest.raises(DeviceError, match=r"executor 'ionq' on 'qpu.none' failed .*no such backend") as caught:
        Ionq("qpu.none").run(Circuit(born_circuit(2, 1)), np.zeros((1, 4)), Key.of(0))
    assert "\n" not in str(caught.value)


def test_no_token_is_one_clear_line(monkeypatch, tmp_path):
    for name in ("IONQ_API_KEY", "QISKIT_IONQ_API_TOKEN", "IONQ_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no token.*export IONQ_API_KEY=…$"):
        Ionq().run(Circuit(born_circuit(2, 1)), np.zeros((1, 4)), Key.of(0))


def test_what_it_refuses(service):
    with pytest.raises(ConfigError, match="'simulator' or a device"):
        Ionq("forte")
    with pytest.raises(ConfigError, match="noise of the simulator"):
        Ionq("qpu.forte-1", noise="forte-1")
    with pytest.raises(ConfigError, match="at most 29"):
        Ionq().run(Circuit(born_circuit(30, 1)), np.zeros((1, 60)), Key.of(0))
