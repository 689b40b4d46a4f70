"""The front of accuracy against bytes, by brute force, and where it is drawn."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.report.pareto import front

numbers = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(numbers, numbers), max_size=12))
def test_the_front_by_brute_force(points):
    kept = {points[place] for place in front(points)}
    unbeaten = {
        (cost, value)
        for cost, value in points
        if not any((c <= cost and v >= value) and (c, v) != (cost, value) for c, v in points)
    }
    assert kept == unbeaten
    chosen = [points[place] for place in front(points)]
    assert chosen == sorted(chosen)
    assert np.all(np.diff([value for _, value in chosen]) > 0)
