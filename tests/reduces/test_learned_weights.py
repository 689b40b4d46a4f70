"""What the Born aggregator, its twins and the control without entangler have in common."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import qfedfm as qf
from qfedfm.core import registry
from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.parts import Objective
from qfedfm.reduces.variational import LearnedWeights
from tests.reduces.cohorts import cohort_of
from tests.reduces.learned import Linear, round_of, start, surrogate

NAMES = ["Born", "BornNoEntangler", "Amplitudes", "Softmax", "Simplex"]
FREE = ["Born", "Amplitudes", "Softmax", "Simplex"]
"""Those that can reach any weights."""


def model(name: str, **options: object) -> LearnedWeights:
    return getattr(qf.reduces, name)(**options)


def shuffled(cohort: Cohort, order: np.ndarray) -> Cohort:
    return cohort_of(cohort.X[order], cohort.weights[order], [cohort.clients[k] for k in order])


@pytest.mark.parametrize("clients", [2, 5, 8, 10])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_weights_are_those_of_the_weighted_mean(name: str, clients: int) -> None:
    cohort, objective = surrogate(clients, 0, seed=1)
    round_of(model(name, steps=1), cohort, objective)
    np.testing.assert_allclose(objective.asked[0], np.average(cohort.X, axis=0, weights=cohort.weights), atol=1e-6)
    reduce = model(name)
    p = reduce.probabilities(start(reduce, range(clients))["theta"], clients, qf.Key.of(0)).probabilities[:clients]
    np.testing.assert_allclose(p, p[0], rtol=1e-14)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FREE)
def test_hostile_clients_lose_their_weight(name: str, seed: int) -> None:
    cohort, objective = surrogate(10, 3, seed)
    mean = objective(np.average(cohort.X, axis=0, weights=cohort.weights).astype(np.float32))[0]
    honest = objective(np.average(cohort.X[3:], axis=0, weights=cohort.weights[3:]).astype(np.float32))[0]
    reduced, _ = round_of(model(name), cohort, objective)
    assert reduced.row_weights[:3].sum() < 0.01
    assert objective(reduced.vector)[0] < 1.05 * honest < mean


@pytest.mark.parametrize("name", FREE)
def test_training_ends_at_the_minimum_of_the_linearised_loss(name: str) -> None:
    """⟨w, s̃⟩ + τ KL(w ‖ n / Σn) has its minimum at w ∝ n exp(−s̃ / τ)."""
    n, counts = 10, 1.0 + np.arange(10) % 4
    g = np.random.default_rng(3).normal(size=n)
    objective = Linear(g)
    reduced, _ = round_of(model(name, steps=200, gradients=1, trust=1.5), cohort_of(np.eye(n), counts), objective)
    centred = g - np.median(g)
    expected = counts * np.exp(-centred / (1.4826 * np.median(np.abs(centred))) / 1.5)
    np.testing.assert_allclose(reduced.row_weights, expected / expected.sum(), atol=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_arrival_changes_not_one_bit(name: str) -> None:
    cohort, objective = surrogate(10, 3, seed=2)
    order = np.random.default_rng(0).permutation(10)
    first, state = round_of(model(name, steps=6), cohort, objective)
    second, other = round_of(model(name, steps=6), shuffled(cohort, order), objective)
    np.testing.assert_array_equal(first.vector, second.vector)
    np.testing.assert_array_equal(first.row_weights[order], second.row_weights)
    np.testing.assert_array_equal(state["theta"], other["theta"])


@pytest.mark.parametrize("name", NAMES)
def test_a_round_starts_where_the_last_one_ended(name: str) -> None:
    cohort, objective = surrogate(10, 3, seed=4)
    first, state = round_of(model(name, steps=6), cohort, objective)
    assert not np.allclose(first.vector, objective.asked[0], atol=1e-3)
    objective.asked.clear()
    round_of(model(name, steps=1), cohort, objective, state, round_=2)
    np.testing.assert_allclose(objective.asked[0], first.vector, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_clients_of_the_round_share_what_is_theirs(name: str) -> None:
    cohort, objective = surrogate(10, 3, seed=4)
    reduce = model(name, steps=20, gradients=1)
    _, state = round_of(reduce, cohort, objective)
    present = np.array([1, 4, 5, 9])
    part = shuffled(cohort, present)
    objective.asked.clear()
    reduced, after = round_of(reduce, part, objective, state, round_=2)
    p = reduce.probabilities(state["theta"], 10, qf.Key.of(0)).probabilities
    share = part.weights * p[present]
    np.testing.assert_allclose(objective.asked[0], share / share.sum() @ part.X, atol=1e-6)
    assert reduced.row_weights.shape == (4,)
    assert reduced.row_weights.sum() == pytest.approx(1)
    assert reduced.row_weights[0] < 0.1
    assert after["theta"].shape == state["theta"].shape


@pytest.mark.parametrize("name", ["Amplitudes", "Softmax"])
def test_absent_clients_keep_their_parameters(name: str) -> None:
    cohort, objective = surrogate(10, 3, seed=4)
    state = start(model(name), range(10))
    _, after = round_of(model(name), shuffled(cohort, np.array([1, 4, 5, 9])), objective, state)
    absent = [0, 2, 3, 6, 7, 8]
    np.testing.assert_allclose(after["theta"][absent], state["theta"][absent], atol=1e-7)
    assert np.abs(after["theta"] - state["theta"]).max() > 0.1


@pytest.mark.parametrize("gradients", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_the_validation_data_are_passed_as_often_as_declared(name: str, gradients: int) -> None:
    cohort, objective = surrogate(10, 3, seed=0)
    reduced, _ = round_of(model(name, steps=5, gradients=gradients), cohort, objective)
    assert len(objective.asked) == reduced.diagnostics["validation_passes"]
    assert gradients + 1 <= len(objective.asked) <= 2 * gradients
    assert reduced.diagnostics["validation_loss_after"] <= reduced.diagnostics["validation_loss_before"]
    assert reduced.diagnostics["validation_loss_before"] == objective(objective.asked[0])[0]
    assert reduced.diagnostics["validation_loss_after"] == pytest.approx(objective(reduced.vector)[0])
    assert reduced.diagnostics["min_weight"] == reduced.row_weights.min()
    assert reduced.diagnostics["max_weight"] == reduced.row_weights.max()


@pytest.mark.parametrize("gradients", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_last_look_asks_for_no_gradient(name: str, gradients: int) -> None:
    cohort, near = surrogate(10, 3, seed=0)
    pulled: list[np.ndarray] = []
    looked: list[np.ndarray] = []

    def gradient(delta: np.ndarray) -> tuple[float, np.ndarray]:
        pulled.append(delta)
        return near(delta)

    def loss(delta: np.ndarray) -> float:
        looked.append(delta)
        return near(delta)[0]

    reduced, _ = round_of(model(name, steps=5, gradients=gradients), cohort, Objective(gradient, loss))
    assert len(looked) == 1
    assert len(pulled) == reduced.diagnostics["validation_passes"] - 1
    assert reduced.diagnostics["validation_loss_before"] == near(pulled[0])[0]


@pytest.mark.parametrize("name", FREE)
def test_where_the_first_weights_are_too_bad_to_learn_from_it_looks_at_the_unchanged_model(name: str) -> None:
    """Far from its optimum the loss is flat and its gradient random, as that of a saturated network."""
    cohort, near = surrogate(10, 3, seed=3, scale=30.0)
    noise = np.random.default_rng(5).normal(size=60).astype(np.float32)

    def objective(delta: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = near(delta)
        return (loss, gradient) if loss < 10 else (10.0, noise)

    reduced, _ = round_of(model(name), cohort, objective)
    assert sum(not delta.any() for delta in near.asked) == 1
    assert reduced.diagnostics["validation_loss_before"] == 10
    assert reduced.diagnostics["validation_loss_after"] < near(np.zeros(60, np.float32))[0]
    assert reduced.row_weights[:3].sum() < 0.02


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_make_the_loss_worse_are_not_taken(name: str) -> None:
    """A loss that is lowest at its start, with a gradient that points away from it."""
    cohort, _ = surrogate(10, 0, seed=0)
    first = np.average(cohort.X, axis=0, weights=cohort.weights)
    direction = cohort.X[0].astype(np.float64)

    def objective(delta: np.ndarray) -> tuple[float, np.ndarray]:
        return float(np.linalg.norm(delta - first)), direction.astype(np.float32)

    reduced, state = round_of(model(name, steps=5), cohort, objective)
    np.testing.assert_allclose(reduced.row_weights, cohort.shares, rtol=1e-12)
    np.testing.assert_array_equal(state["theta"], start(model(name), range(10))["theta"])


@pytest.mark.parametrize("scale", [1e3, 1e30, -1e30])
@pytest.mark.parametrize("name", FREE)
def test_huge_hostile_updates_do_no_harm(name: str, scale: float) -> None:
    cohort, objective = surrogate(10, 3, seed=5, scale=scale)
    honest = objective(np.average(cohort.X[3:], axis=0, weights=cohort.weights[3:]).astype(np.float32))[0]
    reduced, state = round_of(model(name), cohort, objective)
    assert np.isfinite(reduced.vector).all()
    assert np.isfinite(state["theta"]).all()
    assert objective(reduced.vector)[0] < 2 * honest


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_where_the_loss_is_not_a_number_long_updates_lose_weight(name: str, bad: float) -> None:
    X = np.random.default_rng(0).normal(size=(8, 20))
    X[3] *= 100
    reduced, state = round_of(model(name), cohort_of(X), lambda delta: (bad, np.full(20, bad, np.float32)))
    assert np.isfinite(reduced.vector).all()
    assert np.isfinite(state["theta"]).all()
    assert reduced.row_weights[3] < 0.02
    assert not any(name.startswith("validation_loss") for name in reduced.diagnostics)


@pytest.mark.parametrize("name", NAMES)
def test_one_client_needs_no_training(name: str) -> None:
    cohort = cohort_of([[1.0, -2.0]], clients=[7])
    reduce = model(name)
    state = start(reduce, [3, 7, 9])

    def objective(delta: np.ndarray) -> tuple[float, np.ndarray]:
        raise AssertionError("a pass over the validation data for nothing")

    reduced, after = round_of(reduce, cohort, objective, state)
    np.testing.assert_array_equal(reduced.vector, cohort.X[0])
    assert reduced.row_weights.tolist() == [1]
    assert after is state


def test_the_last_plausible_client_takes_all() -> None:
    cohort = cohort_of([[1.0], [1e30], [1e30], [1.0], [1.0]], clients=[0, 1, 2, 3, 4])
    reduced, _ = round_of(model("Softmax"), cohort, Linear(np.ones(1)))
    assert reduced.row_weights[[1, 2]].tolist() == [0, 0]
    assert reduced.row_weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("name", NAMES)
def test_without_validation_data_it_is_refused(name: str) -> None:
    cohort, _ = surrogate(4, 0, seed=0)
    with pytest.raises(StackError, match=rf"{model(name).name!r} without a validation objective.*task.validation"):
        round_of(model(name), cohort, None)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"gradients": 0}, {"lr": 0.0}, {"lr": math.inf}, {"trust": -1.0}, {"trust": math.nan}]
)
@pytest.mark.parametrize("name", NAMES)
def test_settings_out_of_range_are_refused(name: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        model(name, **options)


def test_adam_is_that_of_torch() -> None:
    rng = np.random.default_rng(0)
    reduce, theta, moments = model("Softmax", lr=0.03), rng.normal(size=4), {}
    point = torch.tensor(theta, requires_grad=True)
    adam = torch.optim.Adam([point], lr=0.03, betas=(0.8, 0.95))
    for _ in range(5):
        gradient = rng.normal(size=4)
        theta, moments = reduce.advance(theta, gradient, moments)
        point.grad = torch.tensor(gradient)
        adam.step()
    np.testing.assert_allclose(theta, point.detach().numpy(), rtol=1e-12)


def test_the_twins_and_controls_are_registered() -> None:
    entries = {entry.name: entry for entry in registry.entries("reduce")}
    born = entries["born"]
    assert born.quantum
    assert [entries[twin].quantum for twin in born.twins] == [False, False, False]
    controls = {name for name, entry in entries.items() if entry.control_of == "born"}
    assert controls == {"born-no-entangler", "born-random"}


def test_importing_the_parts_imports_no_framework() -> None:
    script = (
        "import sys, qfedfm.core.registry as r; r.importlib.import_module('qfedfm.reduces.born_random');"
        "print([m for m in ('torch', 'qiskit', 'pennylane', 'scipy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
