"""The circuits of key distribution against projections of states written down by hand, and against published rates."""

import math
from itertools import product

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.quantum.keys import (
    b92_angles,
    b92_circuit,
    bb84_angles,
    bb84_circuit,
    bbm92_angles,
    bbm92_circuit,
    e91_angles,
    e91_circuit,
)

ZERO, ONE = np.array([1.0, 0.0]), np.array([0.0, 1.0])
PLUS, MINUS = np.array([1.0, 1.0]) / math.sqrt(2), np.array([1.0, -1.0]) / math.sqrt(2)
STATES = ((ZERO, ONE), (PLUS, MINUS))
"""By basis and bit."""
BUILD = {"bb84": bb84_circuit, "b92": b92_circuit, "bbm92": bbm92_circuit, "e91": e91_circuit}


def run(circuit, angles: np.ndarray) -> np.ndarray:
    return Exact().run(Circuit(circuit), angles, Key.of(0)).probabilities


def linear(polarisation: float) -> tuple[np.ndarray, np.ndarray]:
    """Photons along a polarisation and across it."""
    c, s = math.cos(polarisation), math.sin(polarisation)
    return np.array([c, s]), np.array([-s, c])


def column(*numbers: int) -> list[np.ndarray]:
    return [np.array([number]) for number in numbers]


@pytest.mark.parametrize(("bit", "basis", "measured"), list(product((0, 1), repeat=3)))
def test_bb84_prepares_and_measures_four_states(bit: int, basis: int, measured: int) -> None:
    (found,) = run(bb84_circuit(1), bb84_angles(*column(bit, basis, measured))[None])
    expected = [(state @ STATES[basis][bit]) ** 2 for state in STATES[measured]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("bit", "measured"), list(product((0, 1), repeat=2)))
def test_b92_prepares_two(bit: int, measured: int) -> None:
    (found,) = run(b92_circuit(1), b92_angles(*column(bit, measured))[None])
    expected = [(state @ (ZERO, PLUS)[bit]) ** 2 for state in STATES[measured]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("alice", "bob"), list(product((0, 1, 2), repeat=2)))
def test_pairs_are_measured_along_polarisations(alice: int, bob: int) -> None:
    """⟨ab|Φ⁺⟩ = a·b/√2; outcome a + 2b."""
    cases = [(e91_circuit, e91_angles, linear(alice * math.pi / 8), linear((bob + 1) * math.pi / 8))]
    if max(alice, bob) < 2:
        cases.append((bbm92_circuit, bbm92_angles, STATES[alice], STATES[bob]))
    for build, angles, a, b in cases:
        (found,) = run(build(1), angles(*column(alice, bob))[None])
        expected = [(a[outcome & 1] @ b[outcome >> 1]) ** 2 / 2 for outcome in range(4)]
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("attack", ["none", "intercept"])
def test_pulses_side_by_side_do_not_meet(name: str, attack: str) -> None:
    """Probabilities of three pulses are products of those of each; vectors are in Alice's, Bob's, Eve's order."""
    circuit, single = BUILD[name](3, attack), BUILD[name](1, attack)
    rows, each = circuit.num_parameters // 3, single.num_qubits
    assert circuit.num_qubits == 3 * each
    theta = Key.of(0).fold(name, attack).numpy().uniform(-7, 7, (rows, 3))
    (found,) = run(circuit, theta.reshape(1, -1))
    alone = run(single, np.ascontiguousarray(theta.T))
    for outcome in range(2**circuit.num_qubits):
        expected = 1.0
        for pulse in range(3):
            own = sum((outcome >> (3 * place + pulse) & 1) << place for place in range(each))
            expected *= alone[pulse, own]
        assert found[outcome] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("bit", "basis", "measured", "probed"), list(product((0, 1), repeat=4)))
def test_a_deferred_measurement_is_a_measurement(bit: int, basis: int, measured: int, probed: int) -> None:
    """Eve finds e and sends on that state: P(b, e) = |⟨b|e⟩|² |⟨e|α⟩|²; outcome b + 2e."""
    (found,) = run(bb84_circuit(1, "intercept"), bb84_angles(*column(bit, basis, measured, probed))[None])
    sent = STATES[basis][bit]
    expected = [
        (STATES[measured][outcome & 1] @ STATES[probed][outcome >> 1]) ** 2 * (STATES[probed][outcome >> 1] @ sent) ** 2
        for outcome in range(4)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_intercept_resend_on_bb84_errs_in_a_quarter() -> None:
    """And Eve finds three quarters of the bits."""
    lines = np.array([bb84_angles(*column(a, x, x, e)) for a, x, e in product((0, 1), repeat=3)])
    sent = [a for a, _, _ in product((0, 1), repeat=3)]
    found = run(bb84_circuit(1, "intercept"), lines).reshape(-1, 2, 2)  # Eve's bit, Bob's bit
    assert np.mean([p[:, 1 - a].sum() for a, p in zip(sent, found, strict=True)]) == pytest.approx(0.25)
    assert np.mean([p[a].sum() for a, p in zip(sent, found, strict=True)]) == pytest.approx(0.75)


@pytest.mark.parametrize(("attack", "sifted", "qber"), [("none", 0.25, 0.0), ("intercept", 0.375, 1 / 3)])
def test_b92_sifts_a_quarter_and_more_under_attack(attack: str, sifted: float, qber: float) -> None:
    conclusive, wrong, lines = 0.0, 0.0, list(product((0, 1), repeat=3))
    for bit, measured, probed in lines:
        eve = column(probed) if attack == "intercept" else []
        (p,) = run(b92_circuit(1, attack), b92_angles(*column(bit, measured), *eve)[None])
        one = p[1::2].sum()
        conclusive += one / len(lines)
        wrong += one / len(lines) * (1 - measured != bit)
    assert conclusive == pytest.approx(sifted)
    assert wrong / conclusive == pytest.approx(qber, abs=1e-12)


@pytest.mark.parametrize(("attack", "s"), [("none", 2 * math.sqrt(2)), ("intercept", math.sqrt(2))])
def test_e91_violates_bells_inequality_unless_somebody_listens(attack: str, s: float) -> None:
    signs = {(0, 0): 1, (0, 2): -1, (2, 0): 1, (2, 2): 1}
    value = 0.0
    for (a, b), sign in signs.items():
        for probed in (0, 1):
            eve = column(probed) if attack == "intercept" else []
            (p,) = run(e91_circuit(1, attack), e91_angles(*column(a, b), *eve)[None])
            equal = p.reshape(-1, 2, 2)  # Eve's bit, Bob's bit, Alice's bit
            value += sign / 2 * (2 * np.trace(equal.sum(axis=0)) - 1)
    assert value == pytest.approx(s)


def test_angles_keep_a_batch() -> None:
    bits = np.zeros((5, 3), np.uint8)
    assert bb84_angles(bits, bits, bits).shape == (5, 6)
    assert e91_angles(bits, bits, bits).shape == (5, 9)
    assert e91_angles(bits, bits).dtype == np.float64


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("pulses", [0, 101])
def test_refuses_sizes(name: str, pulses: int) -> None:
    with pytest.raises(ConfigError, match=f"{pulses} pulses in a circuit of {name}; expected 1 to 100"):
        BUILD[name](pulses)
