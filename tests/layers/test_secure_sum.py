"""The plan that a layer's options make; tests/laws has what the sums are, tests/engine what runs do with them."""

import pytest

from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.summed import Summands
from qfedfm.layers.secure_sum import SecureSum
from qfedfm.secagg.graph import Complete, Regular, tail


def plan(clients, **options):
    return SecureSum(**options).plan(Summands("run", 2, 3, tuple(range(clients)), bytes(8), bytes(8), 4, 9, 5))


def test_the_threshold_of_a_regular_graph_is_out_of_reach_of_the_colluders_among_a_clients_neighbours():
    """For all numbers of colluding neighbours that are likelier than 2^-40 anywhere, by the exact distribution."""
    graph = plan(200, graph=60, colluders=10).graph
    assert isinstance(graph, Regular)
    assert 200 * tail(199, 10, 60, graph.colluders) <= 2.0**-40 < 200 * tail(199, 10, 60, graph.colluders - 1)
    assert 2 * graph.threshold > 61 + graph.colluders >= 2 * graph.threshold - 2


@pytest.mark.parametrize("clients", [4, 5, 7])
def test_a_graph_of_more_neighbours_than_there_are_is_complete(clients):
    assert plan(clients, graph=6).graph == Complete()
    assert isinstance(plan(9, graph=6).graph, Regular)


def test_epochs_and_runs_are_in_the_plan():
    one = plan(5)
    assert (one.epoch, one.round, one.run, one.survivors_needed) == (2, 3, "run", 4)


def test_sizes_that_cannot_be_hidden_or_added_are_refused():
    SecureSum().check(3, 2**15, 1000)
    with pytest.raises(ConfigError, match="1 colluders"):
        SecureSum().check(2, 7, 1)
    with pytest.raises(StackError, match="modulus"):
        SecureSum().check(3, 2**20, 1000)
    SecureSum(ring=64).check(3, 2**20, 1000)
    with pytest.raises(ConfigError, match="graph"):
        SecureSum(graph=3)
