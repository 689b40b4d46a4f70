"""Rows and learning rates of a round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.clients.schedule import batches, rates
from qfedfm.core.key import Key


@given(rows=st.integers(1, 40), steps=st.integers(1, 12), size=st.integers(1, 16), seed=st.integers(0, 9))
def test_each_pass_sees_every_row_once(rows, steps, size, seed):
    held = np.arange(100, 100 + rows)
    found = batches(held, steps, size, Key.of(seed))
    assert len(found) == steps
    assert {len(batch) for batch in found} == {min(size, rows)}
    order = np.concatenate(found)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        assert len(set(part)) == len(part)
        assert set(part) <= set(held)
    again = batches(held, steps, size, Key.of(seed))
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_rates_run_over_all_rounds():
    linear = np.concatenate([rates(2.0, "linear", 2, number, 2) for number in (1, 2)])
    np.testing.assert_allclose(linear, [2.0, 1.5, 1.0, 0.5])
    cosine = np.concatenate([rates(1.0, "cosine", 1, number, 4) for number in (1, 2, 3, 4)])
    np.testing.assert_allclose(cosine, [1.0, (1 + np.sqrt(0.5)) / 2, 0.5, (1 - np.sqrt(0.5)) / 2])
    assert rates(0.1, "constant", 3, 1, 1) == pytest.approx([0.1] * 3)
