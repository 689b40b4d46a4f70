"""The front of accuracy against bytes, by brute force, and where it is drawn."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.report.pareto import front, total_bytes
from qfedfm.report.study import Study

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


def test_bytes_to_and_from_mediators_count():
    ordinary = {"method": "mean", "seed": 1, "uplink_bytes": 3, "downlink_bytes": 4}
    split = {**ordinary, "method": "h-fl", "edge_uplink_bytes": 50, "edge_downlink_bytes": 600}
    study = Study({"runs": [ordinary, split, {**split, "seed": 2, "uplink_bytes": 5}]}, [])
    assert total_bytes(study, "mean") == 7
    assert total_bytes(study, "h-fl") == 658
    assert total_bytes(study, "krum") is None
