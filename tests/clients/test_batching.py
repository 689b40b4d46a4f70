from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.clients.batching import cut


@given(st.lists(st.integers(1, 20), max_size=40), st.integers(1, 100))
def test_a_cut_is_a_partition_within_the_budget(lengths: list[int], tokens: int) -> None:
    sizes = np.asarray(lengths, np.int64)
    batches = cut(sizes, tokens)
    assert sorted(np.concatenate([*batches, np.zeros(0, np.int64)]).tolist()) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * sizes[batch].max() <= tokens for batch in batches)
    flat = [int(sizes[i]) for batch in batches for i in batch]
    assert flat == sorted(flat)
