"""Who holds what, and the mean over the holders of each coordinate."""

import math

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import ConfigError, DataError, StackError
from qfedfm.core.held import nested
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, ServerAt
from qfedfm.core.stack import bind, stack

LAYOUT = Layout.of(
    {
        "bias": (3,),
        "q.lora_A.default.weight": (4, 5),
        "q.lora_B.default.weight": (6, 4),
        "v.lora_B.weight": (2, 6),
        "v.lora_A.weight": (6, 3),
        "head.weight": (2, 2),
    }
)
SHARES = {1: 1.0, 4: 0.5, 6: 0.25, 9: 0.5, 12: 1.0}
LARGEST = np.finfo(np.float32).max


def at_of(client, layout=LAYOUT):
    return At(0, 1, client, Key.of(0), layout, 10)


def server_at(layout=LAYOUT):
    return ServerAt(1, Key.of(0), layout, np.zeros(layout.size, np.float32))


def bound(held, *layers, layout=LAYOUT, clients=tuple(SHARES), reduce=None):
    aggregator = stack(*layers, reduce=reduce or qf.reduces.Mean())
    return bind(aggregator, layout, clients, cohort=len(clients), validation=0, held=held)


def slow_mask(share):
    """Coordinate by coordinate, from names and indices."""
    found = []
    for entry in LAYOUT:
        for index in np.ndindex(*entry.shape):
            if "lora_A" in entry.name:
                found.append(index[0] < max(1, round(share * entry.shape[0])))
            elif "lora_B" in entry.name:
                found.append(index[1] < max(1, round(share * entry.shape[1])))
            else:
                found.append(True)
    return np.array(found)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3, 0.25, 1e-9])
def test_the_first_components_of_every_module_are_held_and_all_else_whole(share):
    holding = nested(LAYOUT, {3: share}).of(3)
    np.testing.assert_array_equal(holding.mask, slow_mask(share))
    assert holding.layout.size == holding.mask.sum()
    x = np.random.default_rng(0).normal(size=LAYOUT.size).astype(np.float32)
    mine, whole = holding.layout.unpack(holding.narrow(x)), LAYOUT.unpack(x)
    zeroed = LAYOUT.unpack(holding.widen(holding.narrow(x)))
    for A, B in holding.layout.lora_pairs:
        rank = A.shape[0]
        assert rank == max(1, round(share * whole[A.name].shape[0]))
        np.testing.assert_array_equal(mine[A.name], whole[A.name][:rank])
        np.testing.assert_array_equal(mine[B.name], whole[B.name][:, :rank])
        np.testing.assert_allclose(mine[B.name] @ mine[A.name], zeroed[B.name] @ zeroed[A.name], atol=1e-5)
    for name in ("bias", "head.weight"):
        np.testing.assert_array_equal(mine[name], whole[name])


def test_where_all_hold_all_nobody_holds_less():
    assert nested(LAYOUT, {1: 1.0, 2: 1.0}) is None
    assert nested(LAYOUT, {1: 0.95}) is None, "0.95 · 4 and 0.95 · 6 round to the whole ranks"
    assert nested(Layout.of({"w": (3,)}), {1: 1.0}) is None
    with pytest.raises(ConfigError, match=r"capacity 0\.5 for an adapter without LoRA"):
        nested(Layout.of({"w": (3,)}), {1: 0.5})


def rows(held, clients, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    drawn = (scale * rng.normal(size=(len(clients), LAYOUT.size))).astype(np.float32)
    return np.stack([held.of(c).widen(held.of(c).narrow(x)) for c, x in zip(clients, drawn, strict=True)])


def slow_mean(held, X, weights, clients):
    found = np.zeros(LAYOUT.size)
    for j in range(LAYOUT.size):
        own = [k for k, c in enumerate(clients) if held.of(c).mask is None or held.of(c).mask[j]]
        if own:
            found[j] = math.fsum(float(X[k, j]) * weights[k] for k in own) / math.fsum(weights[k] for k in own)
    return found


def test_the_mean_by_hand_on_a_module_of_rank_two():
    layout = Layout.of({"q.lora_A": (2, 1), "q.lora_B": (1, 2)})
    held = nested(layout, {0: 1.0, 1: 0.5})
    X = np.array([[1, 2, 3, 4], [5, 0, 7, 0]], np.float32)
    cohort = Cohort(X, np.array([1.0, 3.0]), (0, 1), layout, held=held)
    reduced, _ = bound(held, layout=layout, clients=(0, 1)).reduce(cohort, {}, server_at(layout))
    np.testing.assert_array_equal(reduced.vector, [(1 + 15) / 4, 2, (3 + 21) / 4, 4])
    assert reduced.client_weights is None


@pytest.mark.parametrize("clients", [(1,), (6,), (6, 4), (12, 9, 1, 6), tuple(SHARES)])
def test_each_coordinate_is_averaged_over_its_holders(clients):
    held = nested(LAYOUT, SHARES)
    X, weights = rows(held, clients), np.random.default_rng(1).uniform(1, 60, len(clients))
    reduced, _ = qf.reduces.Mean().reduce(Cohort(X, weights, clients, LAYOUT, held=held), {}, server_at())
    np.testing.assert_allclose(reduced.vector, slow_mean(held, X, weights, clients), rtol=2e-6, atol=1e-7)
    plain, _ = qf.reduces.Mean().reduce(Cohort(X, weights, clients, LAYOUT), {}, server_at())
    by_all = slow_mask(min(SHARES[c] for c in clients))
    np.testing.assert_array_equal(reduced.vector[by_all], plain.vector[by_all])
    by_nobody = ~slow_mask(max(SHARES[c] for c in clients))
    assert not reduced.vector[by_nobody].any()


@pytest.mark.parametrize("n", [1, 2, 64, 65, 140])
def test_one_by_one_gives_the_bits_of_all_at_once_in_any_order(n):
    clients = tuple(range(n))
    held = nested(LAYOUT, {c: (0.5, 1.0, 0.25)[c % 3] for c in clients})
    X, weights = rows(held, clients), np.random.default_rng(1).uniform(1, 60, n)
    pair = bound(held, clients=clients)
    collector = pair.collect(n)
    for client in clients:
        collector.add(client, X[client], weights[client])
    one, _ = collector.finish({}, server_at())
    order = np.random.default_rng(2).permutation(n)
    shuffled = Cohort(X[order], weights[order], tuple(order.tolist()), LAYOUT, held=held)
    other, _ = pair.reduce(shuffled, {}, server_at())
    assert one.vector.tobytes() == other.vector.tobytes()
    np.testing.assert_allclose(one.vector, slow_mean(held, X, weights, clients), rtol=1e-5, atol=1e-6)


def test_the_largest_numbers_stay_finite():
    held, clients = nested(LAYOUT, SHARES), tuple(SHARES)
    X = np.where(rows(held, clients) > 0, LARGEST, 0).astype(np.float32)
    cohort = Cohort(X, np.array([1.0, 1e-6, 3.0, 7.0, 1e9]), clients, LAYOUT, held=held)
    reduced, _ = qf.reduces.Mean().reduce(cohort, {}, server_at())
    assert np.isfinite(reduced.vector).all()
    constant = np.stack([held.of(c).widen(held.of(c).narrow(np.full(LAYOUT.size, LARGEST))) for c in clients])
    reduced, _ = qf.reduces.Mean().reduce(Cohort(constant, np.ones(5), clients, LAYOUT, held=held), {}, server_at())
    np.testing.assert_allclose(reduced.vector, LARGEST, rtol=1e-6)


@pytest.mark.parametrize("codec", [qf.layers.Bfloat16(), qf.layers.EF21(qf.layers.TopK(fraction=0.2))], ids=str)
def test_only_what_is_held_travels(codec):
    held = nested(LAYOUT, SHARES)
    pair = bound(held, codec)
    x = np.random.default_rng(0).normal(size=LAYOUT.size).astype(np.float32)
    for client in SHARES:
        holding = held.of(client)
        payload, memory = pair.send(x, pair.memory(client), at_of(client))
        alone = bound(None, codec, layout=holding.layout)
        expected, kept = alone.send(holding.narrow(x), alone.memory(client), at_of(client, holding.layout))
        assert payload == expected
        assert {name: value.tobytes() for name, value in memory.items()} == {n: v.tobytes() for n, v in kept.items()}
        vector, _ = pair.receive(payload, pair.mirror(client), at_of(client))
        assert vector.shape == (LAYOUT.size,)
        held.check(client, vector)
        assert vector.any()


def test_what_does_not_fit_is_refused():
    held = nested(LAYOUT, SHARES)
    full = np.ones((1, LAYOUT.size), np.float32)
    with pytest.raises(DataError, match="client 4 where it holds nothing"):
        Cohort(full, np.ones(1), (4,), LAYOUT, held=held)
    with pytest.raises(DataError, match="client 4 where it holds nothing"):
        bound(held).collect(1).add(4, full[0], 1.0)
    with pytest.raises(DataError, match="client 5, of which nobody said"):
        Cohort(full, np.ones(1), (5,), LAYOUT, held=held)
    with pytest.raises(StackError, match="bound to"):
        bound(held).reduce(Cohort(full, np.ones(1), (1,), LAYOUT), {}, server_at())
    with pytest.raises(StackError, match=r"'median' over clients that hold different ranks.*all hold all coordinates"):
        bound(held, reduce=qf.reduces.Median())
    with pytest.raises(StackError, match="'nnm' over clients that hold different ranks"):
        bound(held, qf.layers.Nnm(1))
