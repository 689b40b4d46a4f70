import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.layout import Layout
from tests.peers import byzfl
from tests.reduces.cohorts import HUGE, cohort_of, exact_squares, normal, reduced


def brute_force(X: np.ndarray, hostile: int) -> int:
    """The argument of the minimum in section 4 of the paper, by its definition."""
    squares = exact_squares(X)
    n = len(X)
    scores = [sum(sorted(np.delete(squares[i], i))[: n - hostile - 2]) for i in range(n)]
    return int(np.argmin(scores))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("n", "hostile"), [(3, 0), (5, 1), (12, 3)])
def test_chooses_what_the_definition_chooses(n: int, hostile: int, seed: int) -> None:
    X = normal(n, 7, seed=seed)
    chosen = brute_force(X, hostile)
    result = reduced(qf.reduces.Krum(hostile), cohort_of(X))
    np.testing.assert_array_equal(result.vector, X[chosen])
    np.testing.assert_array_equal(result.row_weights, np.eye(n)[chosen])


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_byzfl_which_counts_one_neighbour_more(seed: int) -> None:
    X = normal(15, 400, seed=seed)
    theirs = byzfl("aggregators.aggregators").Krum(f=4)(X.astype(np.float64))
    np.testing.assert_array_equal(reduced(qf.reduces.Krum(hostile=3), cohort_of(X)).vector, theirs.astype(np.float32))


@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_a_common_offset_does_not_change_the_choice(offset: float) -> None:
    X = normal(12, 2000) + np.float32(offset)
    np.testing.assert_array_equal(reduced(qf.reduces.Krum(hostile=3), cohort_of(X)).vector, X[brute_force(X, 3)])


def test_huge_colluding_updates_are_not_chosen_and_do_not_change_the_choice() -> None:
    X = normal(13, 2000, scale=1e-3)
    X[[0, 4, 6]] = HUGE
    np.testing.assert_array_equal(reduced(qf.reduces.Krum(hostile=3), cohort_of(X)).vector, X[brute_force(X, 3)])


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 2, 0, 1, 3), (3, 4, 1, 2, 0)])
def test_a_tie_goes_to_the_smallest_client_id_wherever_it_stands(order: tuple[int, ...]) -> None:
    points = np.array([[1.0], [-1.0], [1.0], [-1.0], [50.0]], np.float32)
    ids = np.array([30, 20, 10, 40, 5])
    cohort = cohort_of(points[list(order)], clients=ids[list(order)].tolist())
    result = reduced(qf.reduces.Krum(hostile=1), cohort)
    assert cohort.clients[int(np.argmax(result.row_weights))] == 10
    assert result.vector.tolist() == [1.0]


def test_refuses_what_the_paper_proves_nothing_for() -> None:
    with pytest.raises(ConfigError, match="hostile"):
        qf.reduces.Krum(hostile=-2)
    aggregator = qf.stack(reduce=qf.reduces.Krum(hostile=3))
    layout = Layout.of({"x": (4,)})
    from qfedfm.core.stack import bind

    assert bind(aggregator, layout, tuple(range(9)), cohort=9, validation=0).minimum_clients() == 9
    with pytest.raises(StackError, match="at least 9"):
        bind(aggregator, layout, tuple(range(8)), cohort=8, validation=0)
