"""All executors without noise give what Qiskit's statevector gives, on every circuit of the catalogue."""

import numpy as np
import pytest
from qiskit.quantum_info import Statevector

from qfedfm.core.key import Key
from qfedfm.core.registry import build
from qfedfm.quantum.catalogue import catalogue
from qfedfm.quantum.circuit import Circuit
from tests.quantum.chi2 import p_value

LINES, SHOTS, LEVEL = 2, 2000, 0.01
EXACT = (
    {"name": "exact"},
    {"name": "pennylane", "device": "default.qubit"},
    {"name": "pennylane", "device": "lightning.qubit"},
    {"name": "aer"},
    {"name": "braket"},
)
SHOT = tuple({**config, "name": config["name"].replace("exact", "shots"), "shots": SHOTS} for config in EXACT)
PIECES = catalogue()
CIRCUITS = {piece.name: Circuit(piece.circuit) for piece in PIECES}


def label(config: dict) -> str:
    return "-".join(map(str, config.values()))


def drawn(name: str) -> np.ndarray:
    """Random angles of a circuit."""
    return Key.of(0).fold("angles", name).numpy().uniform(-np.pi, np.pi, (LINES, CIRCUITS[name].parameters))


REFERENCE = {
    name: np.array([Statevector(circuit.qiskit.assign_parameters(line)).probabilities() for line in drawn(name)])
    for name, circuit in CIRCUITS.items()
}


@pytest.mark.parametrize("config", EXACT, ids=label)
@pytest.mark.parametrize("name", CIRCUITS)
def test_exact_executors_give_the_probabilities_of_the_statevector(name, config):
    outcome = build("executor", config).run(CIRCUITS[name], drawn(name), Key.of(1))
    np.testing.assert_allclose(outcome.probabilities, REFERENCE[name], atol=1e-10)
    assert (outcome.column, outcome.shots, outcome.circuits) == ("exact", 0, LINES)


def p_values(config: dict, shift: float = 0.0) -> list[float]:
    """One for each circuit and line; ``shift`` makes every first angle wrong."""
    executor, found = build("executor", config), []
    for name, circuit in CIRCUITS.items():
        theta = drawn(name)
        theta[:, :1] += shift
        outcome = executor.run(circuit, theta, Key.of(2).fold(label(config), name))
        assert (outcome.column, outcome.shots) == ("shots", LINES * SHOTS)
        found += [p_value(counts, line) for counts, line in zip(outcome.counts, REFERENCE[name], strict=True)]
    return found


@pytest.mark.parametrize("config", SHOT, ids=label)
def test_shots_are_drawn_from_the_probabilities_of_the_statevector(config):
    """Bonferroni: with all tests of all executors together, a right library fails once in a hundred keys."""
    found = p_values(config)
    assert min(found) > LEVEL / (len(found) * len(SHOT))


@pytest.mark.parametrize("config", [*SHOT, {"name": "aer", "noise": "manila"}, {"name": "ibm"}], ids=label)
@pytest.mark.parametrize("name", ["born:4", "dicke:4,2"])
def test_equal_lines_are_drawn_independently(config, name):
    """With or without parameters: shots that lines share would be counted more than once."""
    theta = np.ones((4, CIRCUITS[name].parameters))
    counts = build("executor", {**config, "shots": SHOTS}).run(CIRCUITS[name], theta, Key.of(3)).counts
    assert counts.sum(axis=1).tolist() == [SHOTS] * 4
    assert len({tuple(line) for line in counts.tolist()}) == 4


def test_the_test_of_counts_finds_a_wrong_angle():
    found = p_values({"name": "shots", "shots": SHOTS}, shift=0.3)
    assert min(found) < LEVEL / (len(found) * len(SHOT))
    wrong = [p for p in found if p < LEVEL / (len(found) * len(SHOT))]
    assert len(wrong) > len(found) / 2


def test_the_test_of_counts_has_its_level():
    """Of right counts, a share of the level is refused."""
    probabilities = np.array([0.4, 0.3, 0.2, 0.09, 0.0095, 0.0005, 0.0])
    counts = Key.of(0).numpy().multinomial(2000, probabilities, 4000)
    refused = np.mean([p_value(line, probabilities) < 0.05 for line in counts])
    assert abs(refused - 0.05) < 0.012
    assert p_value(np.array([0, 0, 0, 0, 0, 0, 1]), probabilities) == 0
