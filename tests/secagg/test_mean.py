import numpy as np

import qfedfm as qf
from qfedfm.core.cohort import Cohort
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, ServerAt
from qfedfm.core.ring import Ring
from qfedfm.core.stack import bind, stack
from qfedfm.secagg.client import Step
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.protocol import play
from tests.secagg.parties import members

CLIENTS = (2, 3, 5, 7, 11, 13)
LAYOUT = Layout.of({"w": (30, 7)})


def test_a_masked_round_of_fixed_point_is_the_mean_of_what_the_server_would_have_decoded():
    """The same codec without masks through `stack` and the mean, over the same survivors; two clients drop out."""
    codec, weights = qf.layers.FixedPoint(reach=0.5, bits=16), dict(zip(CLIENTS, (1, 20, 3, 4, 7, 9), strict=True))
    aggregator = stack(codec, reduce=qf.reduces.Mean())
    ring = Ring.holding(len(CLIENTS), codec.bound, 20)
    plan = Plan(
        0, 4, CLIENTS, LAYOUT.digest, aggregator.digest, LAYOUT.size, codec.bound, 20, colluders=0, ring=ring
    )  # fmt: skip
    rng, key = np.random.default_rng(0), Key.of(1)
    X = {client: rng.normal(size=LAYOUT.size).astype(np.float32) * np.float32(0.2) for client in CLIENTS}
    at = {client: At(0, 4, client, key.fold(client), LAYOUT, weights[client]) for client in CLIENTS}
    inputs = {client: (codec.integers(X[client], at[client]), weights[client]) for client in CLIENTS}
    opened = play(plan, members(CLIENTS), inputs, silent={3: Step.MASK, 11: Step.SHARE}).opened
    masked = codec.real(opened.total, opened.weight)

    bound = bind(aggregator, LAYOUT, CLIENTS, cohort=4, validation=0)
    left = (2, 5, 7, 13)
    assert opened.survivors == left
    rows = np.array([bound.decode(bound.encode(X[client], at[client]), at[client]) for client in left])
    cohort = Cohort(rows, np.array([weights[client] for client in left], float), left, LAYOUT)
    plain, _ = bound.reduce(cohort, bound.init(), ServerAt(4, key, LAYOUT, np.zeros(LAYOUT.size, np.float32)))
    np.testing.assert_allclose(masked, plain.vector, rtol=1e-5, atol=1e-7)
