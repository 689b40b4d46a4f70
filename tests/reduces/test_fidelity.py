"""The fidelity aggregators: their circuits against closed forms, their limits, and when they fail."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core import registry
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.executors.ideal import Exact, Shots
from qfedfm.reduces.fidelity import FidelityTest, fidelities
from tests.reduces.cohorts import cohort_of, normal, reduced, server_at
from tests.reduces.test_similarity import agreement, alike, brute_force

PAIRS = [("Fidelity", "Cosine"), ("FidelityOutlier", "CosineOutlier"), ("FidelityCluster", "CosineCluster")]


def compared(reduce: FidelityTest, X: np.ndarray) -> np.ndarray:
    cohort = cohort_of(X)
    return reduce.compare(cohort, server_at(X.shape[1])).values


def test_plain_fidelity_is_blind_to_sign_and_the_constant_mends_it() -> None:
    delta = normal(1, 6)
    X = np.concatenate((delta, -3 * delta))
    assert compared(qf.reduces.FidelityUnsigned(qubits=3), X)[0, 1] == pytest.approx(1)
    assert compared(qf.reduces.Fidelity(qubits=3), X)[0, 1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("test", ["inversion", "swap"])
def test_updates_that_fit_have_the_fidelity_of_the_formula(test: str) -> None:
    X = normal(5, 7)
    np.testing.assert_allclose(compared(qf.reduces.Fidelity(qubits=3, test=test), X), brute_force(X), atol=1e-10)
    cosines = 2 * np.sqrt(brute_force(X)) - 1
    unsigned = compared(qf.reduces.FidelityUnsigned(qubits=3, test=test), X)
    np.testing.assert_allclose(unsigned, cosines**2, atol=1e-10)


@pytest.mark.parametrize(("fidelity", "cosine"), PAIRS)
def test_exact_and_not_sketched_it_is_its_twin(fidelity: str, cosine: str) -> None:
    for seed in range(4):
        X = normal(8, 14, seed) + 0.7 * normal(1, 14, seed + 50)
        X[:3] *= -2
        cohort = cohort_of(X, weights=1.0 + np.arange(8), clients=[5, 3, 9, 1, 7, 0, 2, 8])
        one = reduced(getattr(qf.reduces, fidelity)(qubits=4), cohort)
        other = reduced(getattr(qf.reduces, cosine)(), cohort)
        np.testing.assert_allclose(one.row_weights, other.row_weights, atol=1e-6)
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)


@pytest.mark.parametrize(("test", "variance"), [("inversion", lambda F: F * (1 - F)), ("swap", lambda F: 1 - F**2)])
def test_the_estimator_has_the_variance_of_theory(test: str, variance) -> None:
    shots, repeats = 200, 3000
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, 4))
    F = (u @ v) ** 2 / (u @ u) / (v @ v)
    found, cost = fidelities(np.tile(u, (repeats, 1)), np.tile(v, (repeats, 1)), test, Shots(shots), Key.of(0))
    expected = variance(F) / shots
    assert found.mean() == pytest.approx(F, abs=4 * np.sqrt(expected / repeats))
    assert found.var() == pytest.approx(expected, rel=4 * np.sqrt(2 / repeats))
    assert cost.circuits == {"shots": repeats}
    assert cost.shots == shots * repeats


def test_batches_give_what_one_circuit_at_a_time_gives() -> None:
    u, v = np.random.default_rng(1).normal(size=(2, 3000, 64))
    found, cost = fidelities(u, v, "inversion", Exact(), Key.of(0))
    expected = np.einsum("bk,bk->b", u, v) ** 2 / np.einsum("bk,bk->b", u, u) / np.einsum("bk,bk->b", v, v)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert cost.diagnostics() == {
        "circuits": 3000.0, "shots": 0.0, "device_seconds": 0.0, "circuits_exact": 3000.0
    }  # fmt: skip


@pytest.mark.parametrize("qubits", [4, 6])
def test_the_sketch_costs_what_the_johnson_lindenstrauss_error_says(qubits: int) -> None:
    """The standard deviation of a similarity is (1 + c)/2 · (1 − c²)/√m."""
    cohort, at = alike(30, 0, 0.3, seed=2), server_at(3000)
    cosines = 2 * np.sqrt(brute_force(cohort.X)) - 1
    found = qf.reduces.Fidelity(qubits=qubits).compare(cohort, at).values
    upper = np.triu_indices(30, 1)
    expected = ((1 + cosines) / 2 * (1 - cosines**2) / np.sqrt(2**qubits - 1))[upper]
    errors = (found - brute_force(cohort.X))[upper]
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(np.sqrt(np.mean(expected**2)), rel=0.3)


def test_every_round_has_a_sketch_of_its_own() -> None:
    X = normal(4, 500)
    first, again = (compared(qf.reduces.Fidelity(qubits=3), X) for _ in range(2))
    later = qf.reduces.Fidelity(qubits=3).compare(
        cohort_of(X), qf.core.parts.ServerAt(2, Key.of(0), server_at(500).layout, np.zeros(500, np.float32))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - later.values).max() > 0.01


@pytest.mark.parametrize("hostile", [0, 2, 4])
def test_with_sign_flips_plain_fidelity_fails_and_the_signed_one_does_not(hostile: int) -> None:
    for seed in range(3):
        cohort = alike(10, hostile, 0.5, seed, scale=2.0)
        signed = reduced(qf.reduces.Fidelity(), cohort)
        plain = reduced(qf.reduces.FidelityUnsigned(), cohort)
        twin = reduced(qf.reduces.Cosine(), cohort)
        assert signed.row_weights[:hostile].sum() == twin.row_weights[:hostile].sum() == 0
        assert agreement(signed.vector, cohort, hostile) > 0.98
        if hostile:
            assert plain.row_weights[:hostile].sum() > 0.1
            assert agreement(plain.vector, cohort, hostile) < agreement(signed.vector, cohort, hostile) - 0.005


@pytest.mark.parametrize("name", ["FidelityOutlier", "FidelityCluster"])
def test_outliers_and_clusters_with_shots(name: str) -> None:
    for seed in range(3):
        cohort = alike(10, 4, 0.6, seed)
        result = reduced(getattr(qf.reduces, name)(qubits=7, shots=1000), cohort)
        assert result.row_weights[:4].sum() == 0
        assert agreement(result.vector, cohort, 4) > 0.98


@pytest.mark.parametrize(("options", "shots"), [({}, 0), ({"shots": 50}, 45 * 50)])
def test_one_circuit_for_each_pair(options: dict[str, int], shots: int) -> None:
    diagnostics = reduced(qf.reduces.Fidelity(qubits=3, **options), cohort_of(normal(10, 40))).diagnostics
    assert (diagnostics["circuits"], diagnostics["shots"]) == (45, shots)
    assert diagnostics["circuits_shots" if shots else "circuits_exact"] == 45
    assert diagnostics["reduce_parameters"] == 0


def test_a_zero_update_needs_no_circuit() -> None:
    X = normal(5, 40)
    X[2] = 0
    result = reduced(qf.reduces.Fidelity(qubits=3), cohort_of(X))
    assert result.diagnostics["circuits"] == 6
    assert reduced(qf.reduces.Fidelity(qubits=3), cohort_of(np.zeros((3, 4)))).diagnostics["circuits"] == 0


def test_one_client_needs_no_circuit() -> None:
    result = reduced(qf.reduces.Fidelity(), cohort_of([[1.0, 2.0]]))
    assert result.vector.tolist() == [1, 2]
    assert result.diagnostics["circuits"] == 0


@pytest.mark.parametrize("options", [{"qubits": 0}, {"qubits": 11}, {"shots": 0}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        qf.reduces.Fidelity(**options)


def test_the_register_knows_twins_and_the_control() -> None:
    entries = {entry.name: entry for entry in registry.entries("reduce")}
    for name in ("fidelity", "fidelity-outlier", "fidelity-cluster"):
        assert entries[name].quantum
        assert entries[name].twins == (name.replace("fidelity", "cosine"),)
    assert {name for name, entry in entries.items() if entry.control_of == "fidelity"} == {"fidelity-unsigned"}
