import itertools
import math

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.secagg.graph import Complete, Regular, regular, tail


def reached(neighbours, start, left) -> set[int]:
    found, border = {start}, [start]
    while border:
        for other in neighbours[border.pop()]:
            if other in left and other not in found:
                found.add(other)
                border.append(other)
    return found


@pytest.mark.parametrize("clients", [5, 6, 11, 40])
@pytest.mark.parametrize("degree", [2, 4, 10])
def test_a_regular_graph_is_regular_symmetric_and_connected(clients, degree):
    ids = [3 * number + 1 for number in range(clients)]
    graph = Regular(degree, 0, degree // 2 + 1)
    neighbours = graph.neighbours(ids, bytes(range(32)))
    assert sorted(neighbours) == ids
    for client, others in neighbours.items():
        assert len(others) == min(degree, clients - 1)
        assert client not in others
        assert all(client in neighbours[other] for other in others)
        assert list(others) == sorted(set(others))
    assert reached(neighbours, ids[0], set(ids)) == set(ids)
    assert neighbours == graph.neighbours(ids[::-1], bytes(range(32)))
    if degree + 1 < clients // 2:
        assert neighbours != graph.neighbours(ids, bytes(32))


def test_the_complete_graph():
    assert Complete().neighbours([7, 2, 5], b"") == {7: (2, 5), 2: (5, 7), 5: (2, 7)}
    assert [Complete().shares_needed(n, 0) for n in (2, 3, 4, 50)] == [2, 2, 3, 26]
    assert all(2 * Complete().shares_needed(n, c) in (n + c + 1, n + c + 2) for n in range(2, 30) for c in range(n))


def test_tails_are_those_of_counting():
    for population, marked, drawn in [(7, 3, 4), (8, 0, 3), (6, 6, 2), (9, 4, 9)]:
        draws = list(itertools.combinations(range(population), drawn))
        for more_than in range(-1, drawn + 1):
            share = sum(sum(x < marked for x in draw) > more_than for draw in draws) / len(draws)
            assert tail(population, marked, drawn, more_than) == pytest.approx(share)


def test_runs_on_a_circle_are_bounded_by_their_union():
    """n · C(r, m)/C(n, m) against all ways of removing r of n places on a circle."""
    n, r, m = 12, 5, 3
    removed = list(itertools.combinations(range(n), r))
    runs = sum(any({(start + i) % n for i in range(m)} <= set(one) for start in range(n)) for one in removed)
    assert runs / len(removed) <= n * math.comb(r, m) / math.comb(n, m) <= 2 * runs / len(removed)


def test_the_numbers_of_a_graph_hold_what_they_promise():
    """Colluders and dropouts drawn 1,500 times: no event is seen more often than stated, with five standard errors."""
    clients, colluders, dropouts, failure = 150, 15, 15, 0.05
    graph = regular(clients, colluders, dropouts, failure)
    assert graph.degree < clients // 2
    assert graph.degree + 1 + graph.colluders < 2 * graph.threshold
    rng, bad = np.random.default_rng(5), 0
    for _ in range(1500):
        neighbours = graph.neighbours(range(clients), rng.bytes(32))
        drawn = rng.permutation(clients)
        corrupt, dropped = set(drawn[:colluders].tolist()), set(drawn[colluders:][:dropouts].tolist())
        honest = set(range(clients)) - corrupt - dropped
        near = max(len(corrupt & set(others)) for others in neighbours.values())
        gone = max(len(dropped & set(others)) for others in neighbours.values())
        whole = reached(neighbours, min(honest), honest) == honest
        bad += near > graph.colluders or graph.degree - gone < graph.threshold or not whole
    assert bad / 1500 <= failure + 5 * math.sqrt(failure / 1500)


def test_more_dropouts_or_a_smaller_probability_take_more_neighbours():
    degrees = [regular(2000, 100, dropouts, failure).degree for dropouts, failure in ((100, 1e-6), (400, 1e-6))]
    assert degrees[0] < degrees[1]
    assert degrees[0] < regular(2000, 100, 100, 2.0**-40).degree < 400


def test_refuses_graphs_that_protect_nobody():
    for degree, colluders, threshold in [(3, 0, 3), (0, 0, 1), (4, 0, 2), (4, 2, 3), (4, 0, 6), (4, -1, 3)]:
        with pytest.raises(ConfigError, match="even degree"):
            Regular(degree, colluders, threshold)
    with pytest.raises(ConfigError, match="complete graph"):
        regular(20, 5, 5)
    for wrong in ((10, 5, 5, 0.1), (10, -1, 0, 0.1), (10, 1, 1, 0.0)):
        with pytest.raises(ConfigError, match="fewer than all"):
            regular(*wrong)
