"""Mediators against brute force, random assignment and scipy's divergence."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.split.mediators import divergence, gather, mean_divergence


def skewed(seed, clients, classes=10, alpha=0.3):
    rng = Key.of(seed).fold("skew").numpy()
    return {client: rng.multinomial(60, rng.dirichlet(np.full(classes, alpha))) for client in range(clients)}


def partitions(clients, most, groups):
    """All ways to put the clients under so many mediators."""
    if not clients:
        yield ()
        return
    for size in range(most):
        for others in itertools.combinations(clients[1:], size):
            rest = tuple(client for client in clients[1:] if client not in others)
            if len(rest) <= most * (groups - 1):
                for more in partitions(rest, most, groups - 1):
                    yield ((clients[0], *others), *more)


def random_groups(clients, most, seed):
    order = Key.of(seed).fold("random").numpy().permutation(clients).tolist()
    return tuple(tuple(sorted(order[start : start + most])) for start in range(0, clients, most))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(any), st.integers(0, 100))
def test_the_divergence_is_that_of_scipy(counts, seed):
    reference = Key.of(seed).numpy().dirichlet(np.ones(len(counts)))
    (found,) = divergence(np.array([counts]), reference)
    assert found == pytest.approx(entropy(np.array(counts, float), reference), abs=1e-12)


def test_divergence_at_the_edges():
    found = divergence(np.array([[0, 0], [1, 0], [5, 5]]), np.array([0.0, 1.0]))
    assert found.tolist() == [0.0, np.inf, np.inf]


@pytest.mark.parametrize("clients", [1, 4, 7])
@pytest.mark.parametrize("most", [1, 3, 10])
def test_everybody_has_one_mediator(clients, most):
    groups = gather(skewed(0, clients), most)
    assert sorted(itertools.chain(*groups)) == list(range(clients))
    assert len(groups) == -(-clients // most)
    assert all(len(group) <= most and group == tuple(sorted(group)) for group in groups)


@pytest.mark.parametrize("most", [2, 3])
def test_it_comes_near_the_best_of_all_assignments(most):
    """Over twenty populations of six clients: never below the best, and on average nearer to it than to chance."""
    ours, best, chance = [], [], []
    for seed in range(20):
        counts = skewed(seed, 6, classes=4)
        ours.append(mean_divergence(gather(counts, most), counts))
        every = [mean_divergence(groups, counts) for groups in partitions(tuple(range(6)), most, 6 // most)]
        assert len(every) == {2: 15, 3: 10}[most]
        best.append(min(every))
        chance.append(np.mean(every))
        assert ours[-1] >= best[-1] - 1e-12
        assert ours[-1] <= max(every)
    assert np.mean(ours) - np.mean(best) < 0.25 * (np.mean(chance) - np.mean(best))


@pytest.mark.parametrize(("clients", "most", "alpha"), [(20, 4, 0.3), (20, 5, 0.1), (50, 5, 0.3)])
def test_it_is_nearer_than_random_mediators(clients, most, alpha):
    for seed in range(10):
        counts = skewed(seed, clients, alpha=alpha)
        random = [mean_divergence(random_groups(clients, most, draw), counts) for draw in range(20)]
        assert mean_divergence(gather(counts, most), counts) < 0.8 * np.mean(random)


def test_one_mediator_is_the_population():
    counts = skewed(1, 6)
    assert mean_divergence(gather(counts, 6), counts) == pytest.approx(0, abs=1e-12)


def test_names_and_order_of_clients_decide_nothing_but_ties():
    counts = skewed(2, 8)
    turned = dict(reversed(list(counts.items())))
    assert gather(counts, 3) == gather(turned, 3)
    named = {client + 100: count for client, count in counts.items()}
    assert gather(named, 3) == tuple(tuple(client + 100 for client in group) for group in gather(counts, 3))


def test_a_mediator_needs_clients():
    with pytest.raises(ConfigError, match="at least one"):
        gather(skewed(0, 3), 0)


def test_clients_without_rows_and_equal_clients():
    nothing = {client: np.zeros(3, np.int64) for client in range(4)}
    assert gather(nothing, 2) == ((0, 1), (2, 3))
    assert mean_divergence(((0, 1), (2, 3)), nothing) == 0
