"""The simulations draw from the probabilities of the circuits: bits, bases, sift rates, error rates and correlations.

χ² over all that the parties see of a pulse without losses: settings and bits of both. Shares of cells are sift rates,
shares within cells error rates and the correlations of S, so one test is about all of them. Decoy states are held
against the circuit of BB84: where both detectors click on several photons a coin decides, which leaves the shares among
clicks those of single photons, with and without somebody who measures and sends on.
"""

from itertools import product

import numpy as np
import pytest

from qfedfm.core.key import Key
from qfedfm.core.registry import build
from qfedfm.qkd.b92 import B92
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.bbm92 import BBM92
from qfedfm.qkd.chsh import joint_counts
from qfedfm.qkd.decoy import DecoyBB84
from qfedfm.qkd.e91 import E91
from qfedfm.qkd.eavesdroppers import InterceptResend, Nobody
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import PairSource
from qfedfm.quantum.circuit import Circuit
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
from tests.quantum.chi2 import p_value

PULSES, LEVEL = 400_000, 1e-4
IDEAL = PairSource(mean_pairs=None, visibility=1.0)
EAVESDROPPERS = {"none": Nobody(), "intercept": InterceptResend()}
PROTOCOLS = {
    "bb84": BB84(),
    "decoy": DecoyBB84(),
    "b92": B92(),
    "bbm92": BBM92(source=IDEAL),
    "e91": E91(IDEAL),
}
SETTINGS = {"bb84": (2, 2), "decoy": (2, 2), "b92": (1, 2), "bbm92": (2, 2), "e91": (3, 3)}


def prepared(name: str, attack: str, executor: str, shift: float) -> np.ndarray:
    """P of (Alice's basis, Bob's basis, Alice's bit, Bob's bit): her bit and all bases are fair coins."""
    bases, found = SETTINGS[name][0], np.zeros((*SETTINGS[name], 2, 2))
    two = name == "b92"
    circuit = Circuit((b92_circuit if two else bb84_circuit)(1, attack))
    for basis, measured, bit, probed in product(range(bases), (0, 1), (0, 1), (0, 1)):
        eve = [np.array([probed])] if attack == "intercept" else []
        rows = [np.array([number]) for number in ((bit, measured) if two else (bit, basis, measured))]
        angles = b92_angles(*rows, *eve) if two else bb84_angles(*rows, *eve)
        found[basis, measured, bit] += probabilities(circuit, angles, executor, shift).reshape(-1, 2).sum(axis=0)
    return found / found.sum()


def entangled(name: str, attack: str, executor: str, shift: float) -> np.ndarray:
    found = np.zeros((*SETTINGS[name], 2, 2))
    circuit = Circuit((bbm92_circuit if name == "bbm92" else e91_circuit)(1, attack))
    make = bbm92_angles if name == "bbm92" else e91_angles
    for a, b, probed in product(*map(range, SETTINGS[name]), (0, 1)):
        eve = [np.array([probed])] if attack == "intercept" else []
        p = probabilities(circuit, make(np.array([a]), np.array([b]), *eve), executor, shift)
        found[a, b] += p.reshape(-1, 2, 2).sum(axis=0).T  # outcome: Alice's bit + 2 Bob's + 4 Eve's
    return found / found.sum()


def probabilities(circuit: Circuit, angles: np.ndarray, executor: str, shift: float) -> np.ndarray:
    """``shift`` makes Alice's angle wrong, as it would be in a simulation that does not agree."""
    line = angles + shift * (np.arange(len(angles)) == 0)
    return build("executor", executor).run(circuit, line[None], Key.of(0)).probabilities[0]


def expected(name: str, attack: str, executor: str = "exact", shift: float = 0.0) -> np.ndarray:
    return (entangled if name in ("bbm92", "e91") else prepared)(name, attack, executor, shift)


def simulated(name: str, attack: str, eavesdropper=None) -> np.ndarray:
    entropy = Seeded(Key.of(0).fold(name, attack))
    found = PROTOCOLS[name].exchange(PULSES, Link(), eavesdropper or EAVESDROPPERS[attack], entropy)
    return joint_counts(found.alice, found.bob, SETTINGS[name])


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("attack", EAVESDROPPERS)
def test_simulation_and_circuit_agree(name: str, attack: str) -> None:
    counts = simulated(name, attack)
    assert counts.sum() == PULSES or name == "decoy"
    assert p_value(counts.ravel(), expected(name, attack).ravel()) > LEVEL


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("attack", EAVESDROPPERS)
@pytest.mark.parametrize("shift", [-0.08, 0.08])
def test_a_wrong_angle_is_found(name: str, attack: str, shift: float) -> None:
    """Less than five degrees, of Alice's."""
    assert p_value(simulated(name, attack).ravel(), expected(name, attack, shift=shift).ravel()) < LEVEL


@pytest.mark.parametrize("name", PROTOCOLS)
def test_an_eavesdropper_is_found(name: str) -> None:
    """Of a share of a twentieth."""
    counts = simulated(name, "none", InterceptResend(0.05))
    assert p_value(counts.ravel(), expected(name, "none").ravel()) < LEVEL


@pytest.mark.parametrize("name", PROTOCOLS)
def test_any_executor_will_do(name: str) -> None:
    """PennyLane's simulator and ours give the same table."""
    found = expected(name, "intercept", "pennylane")
    np.testing.assert_allclose(found, expected(name, "intercept"), atol=1e-12)
