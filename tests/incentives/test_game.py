import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import ConfigError, DataError, StackError
from qfedfm.core.held import nested
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import ServerAt
from qfedfm.incentives.contribution import round_contributions
from qfedfm.incentives.contributions.amplitude_estimation import AmplitudeEstimation
from qfedfm.incentives.contributions.coalition_sampling import CoalitionSampling
from qfedfm.incentives.contributions.permutation_sampling import PermutationSampling
from qfedfm.incentives.contributions.shapley import Shapley
from qfedfm.incentives.game import Game, round_game
from qfedfm.reduces.mean import Mean
from qfedfm.reduces.median import Median
from tests.reduces.cohorts import cohort_of
from tests.reduces.learned import Linear, Quadratic, both

CLIENTS = (7, 2, 11)


def server(cohort: Cohort, measure) -> ServerAt:
    return ServerAt(3, Key.of(0), cohort.layout, np.zeros(cohort.layout.size, np.float32), measure and both(measure))


def quadratic(d: int = 4) -> Quadratic:
    return Quadratic(np.ones(d), np.diag(np.arange(1.0, d + 1)))


def test_a_coalition_is_evaluated_once_and_every_call_is_counted() -> None:
    asked = []
    game = Game(3, lambda coalition: asked.append(coalition) or float(sum(coalition)))
    assert [game(0b101), game(0b101), game(0b110)] == [2.0, 2.0, 3.0]
    assert asked == [(0, 2), (1, 2)]
    assert (game.calls, game.evaluations) == (3, 2)
    assert game.marginal(0, 0b110) == 0.0
    assert (game.calls, game.evaluations) == (5, 3)
    assert game.all().tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert game.evaluations == 8


def test_the_utility_of_clients_is_what_their_update_takes_off_the_loss() -> None:
    X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    cohort = cohort_of(X, weights=[1.0, 2.0, 5.0], clients=CLIENTS)
    objective = quadratic()
    game = round_game(cohort, Mean(), server(cohort, objective))
    assert game.names == (2, 7, 11)
    assert game(0) == 0
    mean = (X[0] + 5 * X[2]) / 6
    assert game(0b110) == pytest.approx(objective(np.zeros(4))[0] - objective(mean)[0], rel=1e-5)
    assert game(0b001) == pytest.approx(objective(np.zeros(4))[0] - objective(X[1])[0], rel=1e-5)


def test_clients_that_hold_different_ranks_are_worth_what_their_coordinates_bring() -> None:
    layout = Layout.of({"q.lora_A": (2, 1), "q.lora_B": (1, 2)})
    X = np.array([[1, 2, 3, 4], [5, 0, 7, 0], [1, 1, 1, 1]], np.float32)
    held = nested(layout, {7: 1.0, 2: 0.5, 11: 1.0})
    cohort, objective = Cohort(X, np.ones(3), CLIENTS, layout, held=held), quadratic()
    game = round_game(cohort, Mean(), server(cohort, objective))
    together = objective(np.array([3.0, 2.0, 5.0, 4.0]))[0]
    assert game(0b011) == pytest.approx(objective(np.zeros(4))[0] - together, rel=1e-5)


def test_contributions_are_named_by_client_and_sum_to_the_loss_that_the_round_took_off() -> None:
    X = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    cohort = cohort_of(X, clients=CLIENTS)
    objective = quadratic()
    found, shares = round_contributions(cohort, Mean(), server(cohort, objective), Shapley())
    assert tuple(found) == (2, 7, 11)
    total = objective(np.zeros(4))[0] - objective(X.mean(axis=0))[0]
    assert sum(found.values()) == pytest.approx(total, rel=1e-5)
    assert (shares.evaluations, shares.queries.total) == (8, 0)
    np.testing.assert_array_equal(shares.values, list(found.values()))


@pytest.mark.parametrize(
    "method", [Shapley(), PermutationSampling(5), CoalitionSampling(5), AmplitudeEstimation(1)], ids=lambda m: m.name
)
def test_the_order_of_the_rows_changes_nothing(method) -> None:
    X = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    found = []
    for order in ([0, 1, 2], [2, 0, 1]):
        cohort = cohort_of(X[order], weights=[1.0 + i for i in order], clients=[CLIENTS[i] for i in order])
        found.append(round_contributions(cohort, Median(), server(cohort, quadratic()), method)[0])
    assert found[0] == found[1]


def test_a_client_that_did_harm_is_worth_less_than_nothing() -> None:
    target = np.ones(5, np.float32)
    X = np.stack((0.5 * target, 0.6 * target, -3 * target))
    cohort = cohort_of(X, clients=CLIENTS)
    found, _ = round_contributions(cohort, Mean(), server(cohort, Quadratic(target, np.eye(5))), Shapley())
    assert found[11] < 0 < found[7]


def test_equal_updates_are_worth_the_same_and_a_linear_loss_gives_their_slopes() -> None:
    """Under v(S) = −⟨g, mean of S⟩ with two clients: φ₀ = (3v₀ − v₁)/4 by hand."""
    X = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    cohort = cohort_of(X)
    found, _ = round_contributions(cohort, Mean(), server(cohort, Linear(np.array([-2.0, 1.0]))), Shapley())
    v0, v1 = 2.0, -1.0
    assert found[0] == pytest.approx((3 * v0 - v1) / 4)
    assert found[1] == pytest.approx((3 * v1 - v0) / 4)


def test_a_reduce_with_state_starts_every_coalition_from_the_same() -> None:
    X = np.random.default_rng(2).normal(size=(3, 4)).astype(np.float32)
    cohort = cohort_of(X)
    at = server(cohort, quadratic())
    reduce = qf.reduces.Softmax(steps=3, gradients=1)
    one, again = (round_game(cohort, reduce, at) for _ in range(2))
    np.testing.assert_array_equal(one.all(), again.all())
    assert one(0b111) == again(0b111)


def test_refuses_games_that_are_none() -> None:
    cohort = cohort_of(np.ones((3, 2)))
    at = server(cohort, quadratic(2))
    with pytest.raises(ConfigError, match="0 players"):
        Game(0, len)
    with pytest.raises(ConfigError, match="2 names"):
        Game(3, len, (1, 2))
    with pytest.raises(ConfigError, match="at most 20"):
        Game(21, len).all()
    with pytest.raises(DataError, match=r"inf of the coalition \[5, 9\]"):
        Game(2, lambda coalition: np.inf, (5, 9))(3)
    with pytest.raises(StackError, match="without a validation objective"):
        round_game(cohort, Mean(), server(cohort, None))
    with pytest.raises(StackError, match="mixed"):
        round_game(cohort.mixed(np.full((3, 3), 1 / 3)), Mean(), at)
    with pytest.raises(StackError, match="which needs"):
        round_game(cohort, qf.reduces.Krum(hostile=1), at)


def test_the_public_names() -> None:
    assert qf.incentives.Game is Game
    assert qf.incentives.round_contributions is round_contributions
    assert callable(qf.incentives.scaling)
    assert qf.incentives.Shapley is Shapley
    with pytest.raises(AttributeError, match="did you mean 'Shapley'"):
        qf.incentives.Shaply  # noqa: B018
