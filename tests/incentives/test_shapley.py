import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.incentives.contribution import coalition_weights, others
from qfedfm.incentives.contributions.coalition_sampling import CoalitionSampling, drawn_coalitions
from qfedfm.incentives.contributions.permutation_sampling import PermutationSampling
from qfedfm.incentives.contributions.shapley import Shapley
from qfedfm.incentives.game import Game


def game_of(v: np.ndarray) -> Game:
    """A game by the table of its utilities."""
    return Game(len(v).bit_length() - 1, lambda S: float(v[sum(1 << player for player in S)]))


def exact(game: Game) -> np.ndarray:
    return Shapley().shares(game, Key.of(0)).values


def by_orders(v: np.ndarray) -> np.ndarray:
    """The mean over all n! orders."""
    n = len(v).bit_length() - 1
    values = np.zeros(n)
    for order in itertools.permutations(range(n)):
        coalition = 0
        for player in order:
            values[player] += v[coalition | 1 << player] - v[coalition]
            coalition |= 1 << player
    return values / math.factorial(n)


tables = st.integers(1, 5).flatmap(lambda n: st.lists(st.floats(-10, 10), min_size=2**n, max_size=2**n).map(np.array))
exploring = settings(max_examples=40)


@exploring
@given(tables)
def test_the_mean_over_all_orders(v: np.ndarray) -> None:
    np.testing.assert_allclose(exact(game_of(v)), by_orders(v), atol=1e-12)


@exploring
@given(tables)
def test_efficiency(v: np.ndarray) -> None:
    assert exact(game_of(v)).sum() == pytest.approx(v[-1] - v[0], abs=1e-11)


@exploring
@given(tables, st.randoms(use_true_random=False))
def test_symmetry(v: np.ndarray, random) -> None:
    """Renaming the players renames the values."""
    n = len(v).bit_length() - 1
    names = random.sample(range(n), n)
    renamed = np.array([v[sum((S >> new & 1) << names[new] for new in range(n))] for S in range(2**n)])
    np.testing.assert_allclose(exact(game_of(renamed)), exact(game_of(v))[names], atol=1e-11)


@exploring
@given(tables, st.data())
def test_a_null_player_gets_nothing(v: np.ndarray, data) -> None:
    n = len(v).bit_length() - 1
    player = data.draw(st.integers(0, n - 1))
    without = v[np.arange(2**n) & ~(1 << player)]
    assert exact(game_of(without))[player] == pytest.approx(0, abs=1e-12)


@exploring
@given(tables, st.floats(-3, 3))
def test_additivity(v: np.ndarray, factor: float) -> None:
    w = np.cos(np.arange(len(v)))
    expected = exact(game_of(v)) + factor * exact(game_of(w))
    np.testing.assert_allclose(exact(game_of(v + factor * w)), expected, atol=1e-11)


def test_the_glove_game() -> None:
    """One left glove, two right ones; a pair is worth 1 (Shapley & Shubik)."""
    glove = Game(3, lambda S: float(0 in S and len(S) > 1))
    np.testing.assert_allclose(exact(glove), [2 / 3, 1 / 6, 1 / 6], atol=1e-15)


def test_the_airport_game() -> None:
    """A runway for the largest of aircraft: each section is shared by those that need it (Littlechild & Owen 1973)."""
    costs = np.array([3.0, 5.0, 9.0, 20.0, 20.0])
    airport = Game(5, lambda S: float(max((costs[player] for player in S), default=0)))
    sections = np.diff(costs, prepend=0) / (5 - np.arange(5))
    np.testing.assert_allclose(exact(airport), np.cumsum(sections), atol=1e-12)


def test_sixteen_players() -> None:
    """A weighted sum of players is worth its weights."""
    weights = np.arange(16.0)
    game = Game(16, lambda S: float(weights[list(S)].sum()))
    shares = Shapley().shares(game, Key.of(0))
    np.testing.assert_allclose(shares.values, weights, atol=1e-10)
    assert (shares.calls, shares.evaluations) == (2**16, 2**16)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_weights_of_coalitions(n: int) -> None:
    expected = [math.factorial(s) * math.factorial(n - 1 - s) / math.factorial(n) for s in range(n)]
    np.testing.assert_allclose(coalition_weights(n), expected, rtol=1e-14)
    for player in range(n):
        without = others(player, n)
        assert sorted(without) == [S for S in range(2**n) if not S >> player & 1]
        assert coalition_weights(n)[np.bitwise_count(without)].sum() == pytest.approx(1)


@pytest.mark.parametrize("method", [PermutationSampling(400), CoalitionSampling(400)], ids=lambda method: method.name)
def test_sampling_is_unbiased_within_its_standard_error(method) -> None:
    v = np.random.default_rng(0).normal(size=32)
    game, expected = game_of(v), by_orders(v)
    found = [method.shares(game, Key.of(1).fold(number)) for number in range(60)]
    values, errors = (np.array([getattr(one, what) for one in found]) for what in ("values", "standard_errors"))
    spread = values.std(axis=0)
    assert (np.abs(values.mean(axis=0) - expected) < 4.5 * spread / np.sqrt(60)).all()
    np.testing.assert_allclose(errors.mean(axis=0), spread, rtol=0.35)
    inside = [(one.intervals[:, 0] < expected) & (expected < one.intervals[:, 1]) for one in found]
    assert np.mean(inside) > 0.88


def test_estimates_from_orders_are_efficient() -> None:
    v = np.random.default_rng(1).normal(size=16)
    assert PermutationSampling(3).shares(game_of(v), Key.of(0)).values.sum() == pytest.approx(v[-1] - v[0])


def test_calls_and_evaluations() -> None:
    game = game_of(np.random.default_rng(2).normal(size=16))
    orders = PermutationSampling(50).shares(game, Key.of(0))
    assert orders.calls == 50 * 5
    assert orders.evaluations == game.evaluations <= 16
    drawn = CoalitionSampling(30).shares(game, Key.of(0))
    assert drawn.calls == 4 * 30 * 2
    assert drawn.evaluations == game.evaluations - orders.evaluations


def test_coalitions_have_every_size_equally_often() -> None:
    drawn = drawn_coalitions(2, 5, 20_000, Key.of(0))
    assert not (drawn >> 2 & 1).any()
    shares = np.bincount(np.bitwise_count(drawn), minlength=5) / 20_000
    np.testing.assert_allclose(shares, 0.2, atol=0.015)


def test_refuses_games_that_are_too_large() -> None:
    with pytest.raises(ConfigError, match="at most 20"):
        Shapley().shares(Game(21, lambda S: 0.0), Key.of(0))
    with pytest.raises(ConfigError, match="at most 20"):
        others(0, 21)
    large = PermutationSampling(2).shares(Game(40, lambda S: float(len(S))), Key.of(0))
    np.testing.assert_allclose(large.values, 1)
