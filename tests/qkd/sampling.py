"""Whether counts agree with probabilities."""

import math

from qfedfm.core.key import Key
from qfedfm.qkd.entropy import Seeded


def seeded(seed: int = 0) -> Seeded:
    return Seeded(Key.of(seed))


def agrees(count: float, total: float, probability: float, sigmas: float = 5) -> bool:
    """Within five standard deviations of the binomial distribution; exactly where the probability is 0 or 1."""
    return (
        abs(count - total * probability) <= sigmas * math.sqrt(total * probability * (1 - probability)) + 1e-6 * total
    )


def h(p: float) -> float:
    return 0.0 if p in (0, 1) else -p * math.log2(p) - (1 - p) * math.log2(1 - p)
