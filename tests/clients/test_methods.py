"""Local methods on heterogeneous quadratics fᵢ(x) = ½ aᵢ ‖x − bᵢ‖², where every fixed point has a closed form."""

from dataclasses import replace

import numpy as np
import pytest

from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.methods.fedavg import FedAvg
from qfedfm.clients.methods.fedprox import FedProx
from qfedfm.clients.methods.scaffold import Scaffold
from qfedfm.core.errors import ConfigError
from qfedfm.core.layout import Layout
from qfedfm.core.registry import build

A = np.array([1.0, 4.0, 0.5])
B = np.array([[3.0, -1.0], [-2.0, 2.0], [5.0, 0.5]])
LAYOUT = Layout.of({"x": (2,)})
STEPS, RATE = 10, 0.1
SGD = LocalOptimizer("sgd")
OPTIMUM = (A[:, None] * B).sum(axis=0) / A.sum()


def job(client: int, x: np.ndarray) -> Job:
    return Job(client, x.astype(np.float32), (np.zeros(1, np.int64),) * STEPS, np.full(STEPS, RATE))


def train(todo: Job) -> np.ndarray:
    """SGD as `Job` documents it: the gradient, plus the proximal term, plus the correction."""
    x = todo.start.astype(np.float64)
    for rate in todo.rates:
        gradient = A[todo.client] * (x - B[todo.client]) + todo.proximal * (x - todo.start)
        gradient += 0 if todo.correction is None else todo.correction
        x = x - rate * gradient
    return (x - todo.start).astype(np.float32)


def federate(method, rounds: int, sample=None, x=(7.0, -7.0)):
    """Rounds of the method with a plain mean; returns the models, the server's state and the clients' states."""
    x = np.array(x, np.float32)
    server, own = method.server(LAYOUT), {client: method.client(LAYOUT) for client in range(len(A))}
    models = [x]
    for number in range(rounds):
        clients = range(len(A)) if sample is None else sample(number)
        jobs = [method.prepare(job(client, x), server, own[client]) for client in clients]
        deltas = [train(todo) for todo in jobs]
        mean = np.mean(deltas, axis=0, dtype=np.float64).astype(np.float32)
        for todo, delta in zip(jobs, deltas, strict=True):
            own[todo.client] = method.finish(todo, delta, server, own[todo.client])
        server = method.close(mean, STEPS * RATE, len(jobs), len(A), server)
        x = x + mean
        models.append(x)
    return models, server, own


def fixed_point(mu: float) -> np.ndarray:
    """Where FedProx's mean delta vanishes: Σ wᵢ (x − bᵢ) = 0 with wᵢ = aᵢ/(aᵢ+μ) (1 − (1 − η(aᵢ+μ))^E)."""
    weights = A / (A + mu) * (1 - (1 - RATE * (A + mu)) ** STEPS)
    return (weights[:, None] * B).sum(axis=0) / weights.sum()


@pytest.mark.parametrize("mu", [0.0, 0.5, 3.0])
def test_fedprox_converges_to_its_closed_form_which_is_not_the_optimum(mu):
    models, _, _ = federate(FedProx(mu), 200)
    np.testing.assert_allclose(models[-1], fixed_point(mu), atol=1e-5)
    assert np.linalg.norm(fixed_point(mu) - OPTIMUM) > 0.05


def test_a_larger_mu_has_a_smaller_bias():
    bias = [np.linalg.norm(federate(FedProx(mu), 400)[0][-1] - OPTIMUM) for mu in (0.0, 1.0, 4.0)]
    assert bias[0] > bias[1] > bias[2]


def test_fedprox_with_mu_zero_is_fedavg():
    np.testing.assert_array_equal(federate(FedProx(0.0), 5)[0], federate(FedAvg(), 5)[0])


def test_fedavg_leaves_the_job_alone_and_keeps_no_state():
    todo = job(0, np.zeros(2))
    method = FedAvg()
    assert method.prepare(todo, {}, {}) is todo
    assert method.server(LAYOUT) == method.client(LAYOUT) == {}
    assert method.close(np.zeros(2, np.float32), 1.0, 1, 3, {}) == {}
    method.check(LocalOptimizer("adamw", clipping_norm=1.0), equal_work=False)


def test_scaffold_reaches_the_optimum_where_fedavg_does_not():
    scaffold, _, _ = federate(Scaffold(), 300)
    np.testing.assert_allclose(scaffold[-1], OPTIMUM, atol=1e-4)
    assert np.linalg.norm(federate(FedAvg(), 300)[0][-1] - OPTIMUM) > 0.1


def test_scaffold_reaches_the_optimum_with_one_client_a_round():
    scaffold, _, _ = federate(Scaffold(), 1500, sample=lambda number: [number % 3])
    np.testing.assert_allclose(scaffold[-1], OPTIMUM, atol=1e-3)


def test_scaffolds_first_round_is_fedavg():
    np.testing.assert_array_equal(federate(Scaffold(), 1)[0], federate(FedAvg(), 1)[0])


def test_scaffolds_controls_are_the_clients_gradients_at_the_optimum():
    _, server, own = federate(Scaffold(), 300)
    np.testing.assert_allclose(server["control"], 0, atol=1e-4)
    for client, state in own.items():
        np.testing.assert_allclose(state["control"], A[client] * (OPTIMUM - B[client]), atol=1e-3)


@pytest.mark.parametrize("sample", [lambda _: [0, 1, 2], lambda n: [n % 3, (n + 1) % 3], lambda n: [n % 3]])
def test_the_servers_control_is_the_papers_mean_of_the_clients_controls(sample):
    """Starting from zero, c ← c + (1/N) Σ_S (cᵢ⁺ − cᵢ) keeps c = (1/N) Σᵢ cᵢ."""
    for rounds in (1, 2, 7):
        _, server, own = federate(Scaffold(), rounds, sample)
        mean = np.mean([state["control"] for state in own.values()], axis=0)
        np.testing.assert_allclose(server["control"], mean, atol=1e-5)


def test_scaffolds_client_control_is_the_mean_gradient_of_the_local_steps():
    """Option II: cᵢ⁺ is the average of the uncorrected gradients along the path, whatever the schedule."""
    rates = np.array([0.2, 0.1, 0.05])
    server = {"control": np.array([0.3, -0.2], np.float32)}
    own = {"control": np.array([-1.0, 0.5], np.float32)}
    todo = replace(job(1, np.array([1.0, 1.0])), rates=rates, rows=(np.zeros(1, np.int64),) * 3)
    todo = Scaffold().prepare(todo, server, own)
    x, gradients = todo.start.astype(np.float64), []
    for rate in rates:
        gradients.append(A[1] * (x - B[1]))
        x = x - rate * (gradients[-1] - own["control"] + server["control"])
    expected = (rates[:, None] * gradients).sum(axis=0) / rates.sum()
    new = Scaffold().finish(todo, (x - todo.start).astype(np.float32), server, own)
    np.testing.assert_allclose(new["control"], expected, rtol=1e-5)
    assert new["control"].dtype == np.float32
    assert own["control"].tolist() == [-1.0, 0.5]


@pytest.mark.parametrize(
    ("optimizer", "equal", "named"),
    [
        (LocalOptimizer("adamw"), True, "adamw"),
        (LocalOptimizer("sgd", momentum=0.9), True, "momentum"),
        (LocalOptimizer("sgd", clipping_norm=1.0), True, "clipped"),
        (SGD, False, "different steps"),
    ],
)
def test_scaffold_refuses_what_it_is_not_derived_for(optimizer, equal, named):
    with pytest.raises(ConfigError, match=named):
        Scaffold().check(optimizer, equal_work=equal)


def test_scaffold_takes_plain_sgd_with_equal_work():
    Scaffold().check(SGD, equal_work=True)


@pytest.mark.parametrize("rates", [0.0, float("nan"), float("inf")])
def test_scaffold_needs_a_positive_learning_rate(rates):
    zero = np.zeros(2, np.float32)
    with pytest.raises(ConfigError, match="learning rates"):
        Scaffold().close(zero, rates, 1, 3, Scaffold().server(LAYOUT))


@pytest.mark.parametrize(("accepted", "population"), [(4, 3), (-1, 3), (0, 0)])
def test_scaffold_refuses_impossible_counts(accepted, population):
    with pytest.raises(ConfigError, match="accepted"):
        Scaffold().close(np.zeros(2, np.float32), 1.0, accepted, population, Scaffold().server(LAYOUT))


def test_a_round_without_accepted_updates_leaves_scaffolds_control():
    server = {"control": np.array([1.0, -2.0], np.float32)}
    after = Scaffold().close(np.zeros(2, np.float32), 1.0, 0, 3, server)
    np.testing.assert_array_equal(after["control"], server["control"])


@pytest.mark.parametrize("mu", [-1.0, float("nan"), float("inf")])
def test_fedprox_refuses_mu(mu):
    with pytest.raises(ConfigError, match="fedprox"):
        FedProx(mu)
    with pytest.raises(ConfigError, match="fedprox"):
        build("local method", {"name": "fedprox", "mu": mu})
