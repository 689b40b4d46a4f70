import itertools
import math

import numpy as np
import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector
from scipy.linalg import expm

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.quantum.qaoa import (
    Quadratic,
    approximation_ratio,
    brute_force,
    expectation,
    qaoa_angles,
    qaoa_circuit,
    xy_qaoa_circuit,
)
from tests.quantum.circuits import angles

GRAPHS = {
    "K4": (4, list(itertools.combinations(range(4), 2))),
    "K33": (6, [(i, j) for i in range(3) for j in range(3, 6)]),
    "Petersen": (10, [e for i in range(5) for e in ((i, (i + 1) % 5), (5 + i, 5 + (i + 2) % 5), (i, 5 + i))]),
    "Heawood": (14, [(i, (i + 1) % 14) for i in range(14)] + [(i, (i + 5) % 14) for i in range(0, 14, 2)]),
}


def cut(name: str) -> Quadratic:
    """The edges between the two sides: Σ_(i,j) (1 − z_i z_j)/2 = Σ x_i + x_j − 2 x_i x_j."""
    n, edges = GRAPHS[name]
    Q = np.zeros((n, n))
    for i, j in edges:
        Q[[i, j], [i, j]] += 1
        Q[[i, j], [j, i]] -= 1
    return Quadratic(Q)


def problem(seed: int, n: int) -> Quadratic:
    Q = np.random.default_rng(seed).normal(size=(n, n))
    Q[0, 1:3] = 0
    return Quadratic((Q + Q.T) / 2, constant=0.7)


def bits(outcome: int, n: int) -> np.ndarray:
    return np.array([outcome >> i & 1 for i in range(n)], float)


def probabilities(circuit, gamma, beta) -> np.ndarray:
    theta = qaoa_angles(np.asarray(gamma, float), np.asarray(beta, float))
    return Statevector(circuit.assign_parameters(theta)).probabilities()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_values_and_ising_form_are_those_of_every_outcome(n: int) -> None:
    given = problem(0, n)
    values, ising = given.values(), given.ising
    points = np.array([bits(outcome, n) for outcome in range(2**n)])
    np.testing.assert_allclose(given.value(points), values, atol=1e-12)
    for x, value in zip(points, values, strict=True):
        by_hand = 0.7 + sum(given.Q[i, j] * x[i] * x[j] for i in range(n) for j in range(n))
        z = 1 - 2 * x
        pairs = sum(ising.J[i, j] * z[i] * z[j] for i in range(n) for j in range(i + 1, n))
        assert value == pytest.approx(by_hand, abs=1e-12)
        assert ising.offset + ising.h @ z + pairs == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize(
    ("graph", "ratio"), [("K33", 0.692450), ("Petersen", 0.865563), ("Heawood", 0.692450), ("K4", 0.872008)]
)
def test_depth_one_on_cubic_graphs(graph: str, ratio: float) -> None:
    """½ + 1/(3√3) of the edges where there is no triangle; Petersen's largest cut is 12 of 15."""
    edges = cut(graph)
    p = probabilities(qaoa_circuit(edges, 1), [math.atan(1 / math.sqrt(2))], [math.pi / 8])
    assert approximation_ratio(Quadratic(-edges.Q), p) == pytest.approx(ratio, abs=1e-6)
    if graph != "K4":
        share = expectation(edges, p) / len(GRAPHS[graph][1])
        assert share == pytest.approx(0.5 + 1 / (3 * math.sqrt(3)), abs=1e-12)


def test_depth_two_on_heawood() -> None:
    circuit = Circuit(qaoa_circuit(cut("Heawood"), 2))
    theta = qaoa_angles(np.array([[0.4878, 0.8979]]), np.array([[0.5550, 0.2924]]))
    p = Exact().run(circuit, theta, Key.of(0)).probabilities[0]
    assert expectation(cut("Heawood"), p) / 21 == pytest.approx(0.755906, abs=1e-6)


def test_the_circuit_is_the_product_of_the_exponentials() -> None:
    n, given = 4, problem(1, 4)
    gamma, beta = angles(0, 2), angles(1, 2)
    X = sum(SparsePauliOp.from_sparse_list([("X", [i], 1)], n).to_matrix() for i in range(n))
    state = np.full(2**n, 2 ** (-n / 2), complex)
    for g, b in zip(gamma, beta, strict=True):
        state = expm(-1j * b * X) @ (np.exp(-1j * g * given.values()) * state)
    np.testing.assert_allclose(probabilities(qaoa_circuit(given, 2), gamma, beta), np.abs(state) ** 2, atol=1e-10)


PAIRS = {
    ("ring", 4): [(0, 1), (2, 3), (1, 2), (0, 3)],
    ("ring", 5): [(0, 1), (2, 3), (1, 2), (3, 4), (0, 4)],
    ("complete", 4): [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)],
}


@pytest.mark.parametrize(("mixer", "n", "size"), [("ring", 4, 2), ("ring", 5, 3), ("complete", 4, 1)])
def test_the_xy_mixer_is_the_product_over_pairs(mixer: str, n: int, size: int) -> None:
    given = problem(2, n)
    gamma, beta = angles(2, 2), angles(3, 2)
    circuit = xy_qaoa_circuit(given, size, 2, mixer)
    acted = [
        tuple(circuit.find_bit(qubit).index for qubit in gate.qubits)
        for gate in circuit.data
        if gate.operation.name == "rxx"
    ]
    order = acted[: len(acted) // 2]
    assert sorted(order) == sorted(PAIRS[mixer, n])
    assert mixer == "complete" or order == PAIRS[mixer, n]
    state = np.array([outcome.bit_count() == size for outcome in range(2**n)], complex) / math.sqrt(math.comb(n, size))
    for g, b in zip(gamma, beta, strict=True):
        state = np.exp(-1j * g * given.values()) * state
        for pair in order:
            terms = SparsePauliOp.from_sparse_list([("XX", pair, 0.5), ("YY", pair, 0.5)], n).to_matrix()
            state = expm(-1j * b * terms) @ state
    p = probabilities(circuit, gamma, beta)
    np.testing.assert_allclose(p, np.abs(state) ** 2, atol=1e-10)
    assert p[[outcome.bit_count() != size for outcome in range(2**n)]].max() < 1e-12


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7])
def test_all_pairs_come_in_rounds_that_share_no_qubit(n: int) -> None:
    circuit = xy_qaoa_circuit(problem(0, n), 1, 1, "complete")
    depth = circuit.depth(lambda gate: gate.operation.name == "rxx")
    assert circuit.count_ops()["rxx"] == math.comb(n, 2)
    assert depth <= n


def test_angles_can_be_shifted_one_by_one() -> None:
    """Every gate with a parameter is a rotation about a Pauli operator, as the parameter-shift rule needs."""
    unrolled = Circuit(xy_qaoa_circuit(problem(3, 3), 1, 2)).unrolled
    assert unrolled.circuit.parameters == len(unrolled.W)


@pytest.mark.parametrize("size", [0, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_the_penalty_leaves_the_best_choice_of_that_size(seed: int, size: int) -> None:
    given = problem(seed, 5)
    values, penalised = given.values(), given.penalised(size).values()
    ones = np.array([outcome.bit_count() for outcome in range(32)])
    best = min((value, outcome) for outcome, value in enumerate(values) if ones[outcome] == size)
    assert (penalised.min(), penalised.argmin()) == (pytest.approx(best[0]), best[1])
    np.testing.assert_allclose(given.penalised(size, 3.0).values(), values + 3 * (ones - size) ** 2, atol=1e-12)


def test_brute_force_and_ratio_over_choices_of_a_size() -> None:
    given = Quadratic(np.diag([1.0, -2.0, 5.0]), constant=10.0)
    best = brute_force(given, size=2)
    assert (best.outcome, best.best, best.worst) == (0b011, 9.0, 16.0)
    assert (brute_force(given).outcome, brute_force(given).worst) == (0b010, 16.0)
    p = np.zeros(8)
    p[[0b011, 0b110, 0b010, 0b101]] = [0.3, 0.2, 0.4, 0.1]
    # C is 9 and 13 on the first two; the third has the wrong size, the fourth is the worst
    assert approximation_ratio(given, p, size=2) == pytest.approx(0.3 + 0.2 * 3 / 7)
    assert approximation_ratio(given, p) == pytest.approx(0.3 * 7 / 8 + 0.2 * 3 / 8 + 0.4)
    assert expectation(given, p) == pytest.approx(0.3 * 9 + 0.2 * 13 + 0.4 * 8 + 0.1 * 16)


def test_the_ratio_where_all_values_are_equal() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.4])
    assert approximation_ratio(Quadratic(np.zeros((2, 2))), p, size=1) == pytest.approx(0.5)


@pytest.mark.parametrize("Q", [np.ones((2, 3)), np.array([[0.0, 1], [0, 0]]), np.full((1, 1), np.nan)])
def test_refuses_what_is_no_symmetric_matrix(Q: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"square symmetric.*\(Q \+ Qᵀ\)/2"):
        Quadratic(Q)


def test_refuses_numbers_out_of_range() -> None:
    large, small = Quadratic(np.zeros((21, 21))), problem(0, 3)
    for call in (large.values, lambda: brute_force(large)):
        with pytest.raises(ConfigError, match=r"2\^21 values"):
            call()
    for size in (-1, 4):
        with pytest.raises(ConfigError, match="0 to 3"):
            brute_force(small, size)
        with pytest.raises(ConfigError, match="0 to 3"):
            small.penalised(size)
    with pytest.raises(ConfigError, match="penalty"):
        small.penalised(1, -1.0)
    for call in (lambda: qaoa_circuit(small, 0), lambda: xy_qaoa_circuit(small, 1, 0)):
        with pytest.raises(ConfigError, match="depth 0"):
            call()


def test_refuses_problems_on_which_an_angle_has_no_effect() -> None:
    """So that a circuit of depth p always has 2p parameters."""
    constant, single = Quadratic(np.zeros((3, 3)), 2.0), Quadratic(np.ones((1, 1)))
    for call in (lambda: qaoa_circuit(constant, 1), lambda: xy_qaoa_circuit(constant, 1, 1)):
        with pytest.raises(ConfigError, match="values are all equal"):
            call()
    with pytest.raises(ConfigError, match="at least two bits"):
        xy_qaoa_circuit(single, 1, 1)
    assert qaoa_circuit(single, 3).num_parameters == 6
    assert xy_qaoa_circuit(Quadratic(np.eye(2)), 2, 3).num_parameters == 6
