"""Aer with noise, IBM's sampler and Braket: order of bits, noise, refusals; what runs without a network."""

import gc
import sys
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError, DeviceError, MissingExtraError
from qfedfm.core.key import Key
from qfedfm.core.registry import build
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors import aer, braket, ibm
from qfedfm.quantum.executors.aer import Aer
from qfedfm.quantum.executors.braket import Braket
from qfedfm.quantum.executors.ibm import Ibm, used_seconds
from qfedfm.quantum.fake import fake
from tests.quantum.chi2 import p_value

NONE = np.zeros((1, 0))
ARN = "arn:aws:braket:::device/qpu/somebody/something"


def flipped(qubits: int, ones: tuple[int, ...]) -> Circuit:
    circuit = QuantumCircuit(qubits)
    for qubit in ones:
        circuit.x(qubit)
    return Circuit(circuit)


@pytest.mark.parametrize("config", [{"name": "aer"}, {"name": "ibm"}, {"name": "aer", "shots": 300}], ids=str)
@pytest.mark.parametrize("ones", [(0,), (1,), (0, 2), ()])
def test_qubit_0_is_the_least_significant_bit(config, ones):
    noisy = config if config["name"] == "ibm" else {**config, "noise": "manila"}
    outcome = build("executor", noisy).run(flipped(3, ones), NONE, Key.of(0))
    assert outcome.column == "noise"
    assert np.argmax(outcome.probabilities[0]) == sum(2**qubit for qubit in ones)


@pytest.mark.parametrize("gate", ["crx", "cry", "crz", "cp", "rzx", "rxx", "rzz"])
@pytest.mark.parametrize("noise", [None, "manila"])
def test_aer_binds_every_gate(gate, noise):
    """Aer runs a controlled rotation with a free angle as if that were 0."""
    angle, circuit, theta = Parameter("angle"), QuantumCircuit(2), np.array([[0.7], [-2.0], [1.5]])
    circuit.h([0, 1])
    getattr(circuit, gate)(angle, 0, 1)
    circuit.ry(angle, 0)
    circuit.rx(0.4, 1)
    ideal = [Statevector(circuit.assign_parameters(line)).probabilities() for line in theta]
    found = Aer(noise=noise).run(Circuit(circuit), theta, Key.of(0)).probabilities
    np.testing.assert_allclose(found, ideal, atol=1e-9 if noise is None else 0.12)


def test_without_gates_only_readout_errors_are_left():
    """A product over the qubits of the error that the device's own table gives for a measurement."""
    device, qubits = fake("manila"), 3
    made = Aer(noise="manila")
    circuit = flipped(qubits, ())
    found = made.run(circuit, NONE, Key.of(0)).probabilities[0]
    errors = [device.target["measure"][(place,)].error for place in made._prepared(circuit).metadata["physical"]]
    expected = np.zeros(8)
    for bits in product((0, 1), repeat=qubits):
        outcome = sum(bit << qubit for qubit, bit in enumerate(bits))
        expected[outcome] = np.prod([e if bit else 1 - e for e, bit in zip(errors, bits, strict=True)])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_readout_errors_that_differ_between_0_and_1(monkeypatch):
    """Against a loop over what was and what is read."""
    tables = {4: np.array([[0.9, 0.1], [0.3, 0.7]]), 2: np.array([[0.8, 0.2], [0.05, 0.95]])}
    monkeypatch.setattr(aer, "_readout", lambda name: tables)
    before = np.array([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]])
    expected = np.zeros((2, 4))
    for was, read in product(range(4), range(4)):
        chance = tables[4][was & 1, read & 1] * tables[2][was >> 1, read >> 1]
        expected[:, read] += before[:, was] * chance
    np.testing.assert_allclose(aer._misread(before, "any", [4, 2]), expected, atol=1e-15)


def test_many_noisy_shots_tend_to_the_noisy_probabilities():
    circuit, theta = Circuit(born_circuit(3, 2)), Key.of(0).numpy().uniform(-3, 3, (3, 9))
    limit = Aer(noise="manila").run(circuit, theta, Key.of(0)).probabilities
    counts = Aer(noise="manila", shots=20_000).run(circuit, theta, Key.of(1)).counts
    ideal = Aer().run(circuit, theta, Key.of(0)).probabilities
    assert min(p_value(*pair) for pair in zip(counts, limit, strict=True)) > 0.003
    assert max(p_value(*pair) for pair in zip(counts, ideal, strict=True)) < 1e-6


def test_a_parameter_that_transpiling_drops():
    """The angle of a last RZ, and the order of those that stay."""
    theta = ParameterVector("theta", 12)
    circuit = QuantumCircuit(2)
    circuit.rz(theta[0], 0)
    circuit.ry(theta[2], 0)
    circuit.ry(theta[10], 1)
    for other in (1, *range(3, 10), 11):
        circuit.rz(theta[other], 0)
    angles = np.zeros((1, 12))
    angles[0, 10] = np.pi
    for executor in (Aer(noise="manila"), Aer(noise="manila", shots=100), Ibm(shots=100), Braket(), Aer()):
        assert np.argmax(executor.run(Circuit(circuit), angles, Key.of(0)).probabilities) == 2


@pytest.mark.parametrize(("module", "executor"), [(aer, Aer(noise="manila")), (ibm, Ibm(shots=10)), (braket, Braket())])
def test_a_circuit_is_prepared_once_and_let_go(module, executor):
    circuit = flipped(1, ())
    executor.run(circuit, NONE, Key.of(0))
    kept = module._kept[circuit]
    executor.run(circuit, NONE, Key.of(1))
    assert module._kept[circuit] is kept
    gc.collect()
    before = len(module._kept)
    del circuit
    gc.collect()
    assert len(module._kept) == before - 1


@pytest.mark.parametrize("config", [{"name": "aer", "noise": "manila"}, {"name": "ibm"}], ids=str)
def test_a_device_that_is_too_small(config):
    with pytest.raises(ConfigError, match=r"a circuit of 6 qubits on '.*manila'; expected at most 5"):
        build("executor", config).run(flipped(6, ()), NONE, Key.of(0))


@pytest.mark.parametrize("config", [{"name": "aer", "noise": "manilla"}, {"name": "ibm", "backend": "fake:manilla"}])
def test_a_misspelt_fake_device(config):
    with pytest.raises(ConfigError, match=r"no fake device 'manilla'.*did you mean 'manila'\?"):
        build("executor", config).run(flipped(1, ()), NONE, Key.of(0))


def test_what_aer_refuses():
    with pytest.raises(ConfigError, match="at most 10 qubits; give a number of shots"):
        Aer(noise="guadalupe").run(flipped(11, ()), NONE, Key.of(0))
    with pytest.raises(ConfigError, match="method = 'statevectr'; did you mean 'statevector'"):
        Aer(method="statevectr").run(flipped(1, ()), NONE, Key.of(0))


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    aer._simulator.cache_clear()
    with pytest.raises(MissingExtraError, match=r"qiskit_aer is not installed.*pip install -c constraints.txt -e"):
        Aer().run(flipped(1, ()), NONE, Key.of(0))


@pytest.mark.parametrize("usage", [{"quantum_seconds": 3}, {"qpu_charge_time_seconds": 3}, {"seconds": 3.0}])
def test_the_seconds_of_a_job_by_any_of_its_names(usage):
    assert used_seconds({"usage": usage}) == 3
    assert used_seconds({}) == used_seconds({"usage": {"status": "pending"}}) == 0


def test_a_real_backend_of_ibm(monkeypatch):
    """With a service whose device is a fake one and which charges: one job for all lines."""
    import qiskit_ibm_runtime
    from qiskit_ibm_runtime.executor_sampler import Sampler

    jobs, theta = [], np.zeros((3, 4))

    class Charged(Sampler):
        def run(self, pubs, **options):
            job = super().run(pubs, **options)
            jobs.append(pubs)
            return SimpleNamespace(result=job.result, metrics=lambda: {"usage": {"quantum_seconds": 2}})

    class Service:
        def backend(self, name):
            return fake("manila")

    monkeypatch.setattr(qiskit_ibm_runtime, "QiskitRuntimeService", Service)
    monkeypatch.setattr("qiskit_ibm_runtime.executor_sampler.Sampler", Charged)
    ibm._real.cache_clear()
    outcome = Ibm("ibm_somewhere", shots=50).run(Circuit(born_circuit(2, 1)), theta, Key.of(0))
    ibm._real.cache_clear()
    assert (outcome.column, outcome.device_seconds, outcome.shots, len(jobs)) == ("device", 2, 150, 1)


def test_no_account_is_one_clear_line(monkeypatch, tmp_path):
    for name in ("QISKIT_IBM_TOKEN", "IONQ_API_KEY", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr("qiskit_ibm_runtime.qiskit_runtime_service.AccountManager.get", _no_account)
    for config, match in (
        ({"name": "ibm", "backend": "ibm_somewhere"}, "Unable to find account.*save_account"),
        ({"name": "braket", "device": ARN, "shots": 10}, "aws configure"),
    ):
        with pytest.raises(ConfigError, match=match) as caught:
            build("executor", config).run(flipped(1, ()), NONE, Key.of(0))
        assert "\n" not in str(caught.value)


def _no_account(*args, **options):
    from qiskit_ibm_runtime.accounts import AccountNotFoundError

    raise AccountNotFoundError("Unable to find account.")


def test_a_device_of_braket(monkeypatch):
    """With a device that is the local simulator: what the SDK itself counts, one batch for all lines."""
    from braket.devices import LocalSimulator

    batches = []

    class Device:
        def __init__(self, arn):
            assert arn == ARN

        def run_batch(self, tasks, shots):
            batches.append(len(tasks))
            found = [LocalSimulator().run(task, shots=shots).result() for task in tasks]
            return SimpleNamespace(results=lambda fail_unsuccessful: found)

    monkeypatch.setattr("braket.aws.AwsDevice", Device)
    braket._cloud_device.cache_clear()
    circuit, theta = Circuit(born_circuit(3, 2)), Key.of(0).numpy().uniform(-3, 3, (3, 9))
    outcome = Braket(ARN, shots=2000).run(circuit, theta, Key.of(0))
    braket._cloud_device.cache_clear()
    assert (outcome.column, outcome.shots, batches) == ("device", 6000, [3])
    exact, _ = circuit.program.evaluate(theta)
    assert min(p_value(*pair) for pair in zip(outcome.counts, exact, strict=True)) > 1e-5
    assert Braket().run(flipped(3, (1,)), NONE, Key.of(0)).probabilities.argmax() == 2


def test_a_job_that_fails_is_one_clear_line(monkeypatch):
    from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError

    def fails(error):
        def call(*args, **options):
            raise error

        return call

    class Device:
        def __init__(self, arn):
            self.run_batch = lambda tasks, shots: SimpleNamespace(results=fails(RuntimeError("2 tasks\nfailed")))

    monkeypatch.setattr("qiskit_ibm_runtime.executor_sampler.Sampler.run", fails(RuntimeJobFailureError("broken")))
    monkeypatch.setattr("braket.aws.AwsDevice", Device)
    braket._cloud_device.cache_clear()
    for executor, match in ((Ibm(), "broken"), (Braket(ARN, 10), r"RuntimeError: 2 tasks failed")):
        with pytest.raises(DeviceError, match=f"executor '{executor.name}' on .* failed .*{match}") as caught:
            executor.run(flipped(1, ()), NONE, Key.of(0))
        assert "\n" not in str(caught.value)
    braket._cloud_device.cache_clear()


@pytest.mark.parametrize(
    ("options", "match"),
    [({"device": "sv1", "shots": 3}, "arn:aws:braket:"), ({"device": ARN}, "a number of shots"), ({"shots": 0}, "1")],
)
def test_what_braket_refuses(options, match):
    with pytest.raises(ConfigError, match=match):
        build("executor", {"name": "braket", **options})
