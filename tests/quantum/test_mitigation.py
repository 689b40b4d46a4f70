"""Mitigation against closed forms and against mitiq, and whether it helps."""

import cirq
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mitiq.pt.pt import CNOT_twirling_gates, CZ_twirling_gates
from mitiq.zne.scaling import fold_global
from qiskit import QuantumCircuit

from qfedfm.core.errors import DeviceError
from qfedfm.core.key import Key
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Executor, Outcome
from qfedfm.quantum.executors.aer import Aer
from qfedfm.quantum.executors.ibm import Ibm
from qfedfm.quantum.executors.readout import Readout, confusion
from qfedfm.quantum.executors.twirl import Twirl
from qfedfm.quantum.executors.zne import Zne, coefficients, exponential, folded
from tests.quantum.noisy import CIRCUIT, IDEAL, THETA, Misreading, Mixing, distance


def paired(worse: Executor, better: Executor, keys: int = 12) -> float:
    """By how many standard errors the second is nearer to the ideal circuit than the first, the same keys in both."""
    gain = [distance(worse.run(CIRCUIT, THETA, Key.of(k))) - distance(better.run(CIRCUIT, THETA, Key.of(k)))
            for k in range(keys)]  # fmt: skip
    return float(np.mean(gain) / (np.std(gain, ddof=1) / np.sqrt(keys)))


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (Misreading(4000), Readout(Misreading(4000))),
        (Mixing(0.03, 20_000), Zne(Mixing(0.03, 20_000))),
        (Mixing(0.03, 20_000), Zne(Mixing(0.03, 20_000), factors=(1, 3), extrapolation="richardson")),
        (Mixing(0.03, 20_000), Zne(Mixing(0.03, 20_000), extrapolation="exponential")),
    ],
    ids=["readout", "linear", "richardson", "exponential"],
)
def test_mitigation_comes_nearer_to_the_ideal_circuit_with_the_same_keys(worse: Executor, better: Executor) -> None:
    assert paired(worse, better) > 4


def test_readout_solves_the_linear_system_of_all_outcomes() -> None:
    """Where every outcome is seen, M3's reduced matrix is the whole Kronecker product."""
    key, inner = Key.of(3), Misreading(50_000)
    counts, measured = inner.run(CIRCUIT, THETA, key).counts, inner.calibration(CIRCUIT, key.fold("calibration"))
    assert counts is not None
    zero, one = confusion(measured.probabilities, 2)
    expected = np.linalg.solve(np.kron(one, zero), counts.T / 50_000).T
    assert counts.min() > 0
    assert expected.min() > 0
    found = Readout(inner).run(CIRCUIT, THETA, key)
    np.testing.assert_allclose(found.probabilities, expected, atol=2e-6)  # mthree keeps float32
    assert found.bias < 1e-6


def test_a_qubit_that_cannot_be_read_is_named() -> None:
    with pytest.raises(DeviceError, match="qubit 1 is read as 1 in 60% of the shots where it is 0, and in 40%"):
        confusion(np.array([[0.4, 0.0, 0.6, 0.0], [0.0, 0.6, 0.0, 0.4]]), 2)


def test_an_exponential_is_exact_under_noise_that_mixes_all_outcomes() -> None:
    """The noise of `Mixing` is a + b e^(−cλ) itself; a straight line and a parabola miss it by a known amount."""
    noisy, decay = Mixing(0.05), 0.05 * len(CIRCUIT.qiskit.data)
    found = Zne(noisy, extrapolation="exponential").run(CIRCUIT, THETA, Key.of(0))
    np.testing.assert_allclose(found.probabilities, IDEAL, atol=1e-9)
    factors = np.array([1, 3, 5])
    for model in ("linear", "richardson"):
        kept = coefficients((1, 3, 5), model) @ np.exp(-decay * factors)
        expected = kept * IDEAL + (1 - kept) / 4
        assert expected.min() > 0
        found = Zne(noisy, extrapolation=model).run(CIRCUIT, THETA, Key.of(0))
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-12)
        assert found.bias == pytest.approx(0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.float64, (3, 2, 4), elements=st.floats(0, 1)))
def test_an_exponential_stays_within_0_and_1_whatever_was_measured(measured: np.ndarray) -> None:
    found = exponential((1, 3, 5), measured)
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_biases_of_projections_inside_are_passed_on() -> None:
    theta = np.zeros((1, 6))  # |00⟩: numbers below zero after readout
    inner = Readout(Misreading(300))
    found = Zne(inner, factors=(1, 3)).run(CIRCUIT, theta, Key.of(0))
    inside = [inner.run(folded(CIRCUIT, f), theta, Key.of(0).fold("noise", f)) for f in (1, 3)]
    extrapolated = 1.5 * inside[0].probabilities - 0.5 * inside[1].probabilities
    own = np.abs(found.probabilities - extrapolated).sum() / 2
    assert found.bias == pytest.approx(own + 1.5 * inside[0].bias + 0.5 * inside[1].bias)
    assert found.bias > 0


def test_folding_is_mitiqs() -> None:
    qubits = cirq.LineQubit.range(3)

    def as_cirq(circuit: QuantumCircuit) -> cirq.Circuit:
        made = cirq.Circuit()
        for gate in circuit.data:
            on = [qubits[circuit.find_bit(qubit).index] for qubit in gate.qubits]
            if gate.operation.name != "barrier":
                name, angles = gate.operation.name, gate.operation.params
                made.append((cirq.ry(float(angles[0])) if name == "ry" else {"cx": cirq.CNOT}[name])(*on))
        return made

    theta = np.random.default_rng(0).uniform(-3, 3, 9)
    circuit = Circuit(born_circuit(3, 2))
    for factor in (3, 5):
        theirs = fold_global(as_cirq(circuit.qiskit.assign_parameters(theta)), factor)
        ours = as_cirq(folded(circuit, factor).qiskit.assign_parameters(theta))
        assert cirq.Circuit(theirs.all_operations()) == ours


@pytest.mark.parametrize(("gate", "theirs"), [("cx", CNOT_twirling_gates), ("cz", CZ_twirling_gates)])
def test_twirling_draws_all_of_mitiqs_paulis_and_no_other(gate: str, theirs: list[tuple[cirq.Gate, ...]]) -> None:
    qiskit = QuantumCircuit(2)
    getattr(qiskit, gate)(0, 1)
    seen = _Seen([])
    Twirl(seen, instances=400).run(Circuit(qiskit), np.zeros((1, 0)), Key.of(0))
    names = {"id": "I", "x": "X", "y": "Y", "z": "Z"}
    found = set()
    for circuit in seen.circuits:
        paulis = {0: "", 1: ""}
        for each in circuit.qiskit.data:
            if each.operation.name != gate:
                paulis[circuit.qiskit.find_bit(each.qubits[0]).index] += names[each.operation.name]
        found.add((paulis[0][0], paulis[1][0], paulis[0][1], paulis[1][1]))
    assert found == {tuple(map(str, line)) for line in theirs}


class _Seen(Executor):
    """Remembers what it was given."""

    name = "seen"

    def __init__(self, circuits: list[Circuit]) -> None:
        self.circuits = circuits

    def run(self, circuit: Circuit, parameters: np.ndarray, key: Key) -> Outcome:
        self.circuits.append(circuit)
        return Outcome(np.full((len(parameters), 4), 0.25), None, len(parameters), 0, "noise")


def test_the_paulis_are_those_of_the_key() -> None:
    seen = _Seen([])
    for seed in (0, 0, 1):
        Twirl(seen, instances=3).run(CIRCUIT, THETA, Key.of(seed))
    first, again, other = (seen.circuits[start : start + 3] for start in (0, 3, 6))
    assert [one.qiskit for one in first] == [one.qiskit for one in again]
    assert [one.qiskit for one in first] != [one.qiskit for one in other]


@pytest.mark.parametrize("executor", [Aer(shots=10, noise="manila"), Ibm("fake:manila", 10)], ids=["aer", "ibm"])
def test_folds_and_twirls_run_on_the_qubits_of_the_circuit(executor: Aer | Ibm) -> None:
    """Without that, this circuit and its folds are laid on the same qubits in different order."""
    circuit, key = Circuit(born_circuit(4, 1)), Key.of(0)
    seen = _Seen([])
    seen.circuits += [folded(circuit, 3)]
    Twirl(seen, instances=3).run(folded(circuit, 3), np.zeros((1, 8)), key)

    def prepared(of: Circuit) -> QuantumCircuit:
        executor.run(of, np.zeros((1, 8)), key)
        return executor._prepared(of) if isinstance(executor, Aer) else executor._prepared(of, executor._backend())

    def place(of: Circuit) -> tuple[int, ...]:
        return tuple(prepared(of).layout.initial_index_layout(filter_ancillas=True))

    assert {place(one) for one in seen.circuits} == {place(circuit)}
    # and the transpiler has left the folds as they are
    assert prepared(folded(circuit, 3)).count_ops()["cx"] == 3 * prepared(circuit).count_ops()["cx"]
