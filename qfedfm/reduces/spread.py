"""How much it matters which client is which basis state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import StackError
from qfedfm.core.key import Key
from qfedfm.core.parts import Reduce, ServerAt


@dataclass(frozen=True)
class Spread:
    """What permutations of the clients' ids changed.

    Args:
        deviations: the standard deviation of each client's weight over the permutations, in the order of the rows.
        largest: the largest total variation ½ Σ_k |w_k − w'_k| between the weights of two permutations.
        loss: the standard deviation of the validation loss of the aggregate; 0 without validation data.
    """

    deviations: Float64[np.ndarray, " n"]
    largest: float
    loss: float


def permutation_spread(reduce: Reduce, cohort: Cohort, at: ServerAt, key: Key, permutations: int = 20) -> Spread:
    """The first round of a reduce again with the ids dealt out anew among the same updates.

    Who has which id means nothing, so that an aggregator should not care. One whose weights are the outcomes of a
    circuit does, as far as its circuit does not reach every distribution or its training stops early: basis states have
    neighbours. Its twins with a parameter for each client have none.

    Args:
        reduce: one that gives weights of the rows.
        cohort: of one round, whose clients are the population.
        at: where the server is.
        key: of the permutations.
        permutations: how many.

    Raises:
        StackError: the reduce gives no weights of the rows.
    """
    rng, weights, losses = key.fold("permutations").numpy(), [], []
    for _ in range(permutations):
        ids = tuple(int(client) for client in rng.permutation(cohort.clients))
        state = reduce.init(cohort.layout, tuple(sorted(ids)))
        reduced, _ = reduce.reduce(replace(cohort, clients=ids), state, at)
        if reduced.row_weights is None:
            raise StackError(
                f"the spread of reduce {reduce.name!r}, which gives no weights of the updates", "one that does"
            )
        weights.append(reduced.row_weights)
        losses.append(at.objective.loss(reduced.vector) if at.objective is not None else 0.0)
    found = np.array(weights, np.float64)
    apart = np.abs(found[:, None] - found).sum(-1).max() / 2
    return Spread(found.std(axis=0), float(apart), float(np.std(losses)))
