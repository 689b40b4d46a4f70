"""What the server remembers of its clients, by hand and from sketches."""

import math

import numpy as np
import pytest

from qfedfm.core.cohort import Reduced
from qfedfm.core.key import Key
from qfedfm.incentives.ledger import Ledger
from qfedfm.incentives.selector import SKETCH, Seen, Watcher

KEY = Key.of(4)


def test_the_ledger_by_hand():
    x, y = np.zeros((2, SKETCH))
    x[0], y[:2] = 2.0, (3.0, 4.0)
    first = Ledger.of({}).after(1, Seen((3, 5, 8), {3: x, 5: y}, x))
    np.testing.assert_array_equal(first.clients, [3, 5, 8])
    np.testing.assert_allclose(first.reward, [1.0, 0.6, 0.0])
    np.testing.assert_allclose(first.sketches[1][:2], [0.6, 0.8], rtol=1e-6)
    assert not first.sketches[2].any()
    second = first.after(2, Seen((1, 5), {1: x, 5: y}, None))  # a round that was not aggregated judges nobody
    np.testing.assert_array_equal(second.clients, [1, 3, 5, 8])
    np.testing.assert_array_equal(second.invited, [2, 1, 2, 1])
    np.testing.assert_array_equal(second.judged, [0, 1, 1, 1])
    np.testing.assert_allclose(second.reward, [1.0, 1.0, 0.6, 0.0])
    np.testing.assert_allclose(
        first.after(2, Seen((3, 5), {3: x, 5: y}, (x + y) / 2, {3: 0.5, 5: 0.5})).reward,
        [(1 + 0.6) / 2, (0.6 + 0.6) / 2, 0.0],
    )  # each against the other
    np.testing.assert_allclose(first.after(2, Seen((3, 8), {3: x, 8: y}, x, {3: 1.0})).reward, [1, 0.6, 0.3])
    third = second.after(3, Seen((5,), {5: -x}, x))
    np.testing.assert_allclose(third.reward, [1.0, 1.0, (0.6 - 1) / 2, 0.0])
    about = third.about((9, 5))
    assert (about.invited.tolist(), about.reward.tolist()) == ([0, 3], [1.0, pytest.approx(-0.2)])
    np.testing.assert_array_equal(first.clients, [3, 5, 8])


def test_the_watchers_sketches_keep_cosines():
    rng = np.random.default_rng(0)
    base = rng.normal(size=3000).astype(np.float32)
    updates = {0: base, 1: base + 0.5 * rng.normal(size=3000).astype(np.float32), 2: -base, 3: 1e-30 * base}
    watcher = Watcher(3000, KEY)
    for client, update in updates.items():
        watcher.add(client, update)
    seen = watcher.seen((0, 1, 2, 3, 4), Reduced(base))
    reward = Ledger.of({}).after(1, seen).reward
    np.testing.assert_allclose(reward, [1, 1 / math.sqrt(1.25), -1, 1, 0], atol=0.1)
    other = Watcher(3000, KEY).seen((), Reduced(base))  # the same in every round
    np.testing.assert_array_equal(other.aggregate, seen.aggregate)
    assert Watcher(3, KEY).seen((), None).aggregate is None
    assert Watcher(3, KEY).seen((), Reduced(np.full(3, np.inf, np.float32))).aggregate is None


def test_hostile_clients_do_not_reward_themselves():
    """Two of seven send −3 times the update: the mean is theirs, but without their own share it is not."""
    honest = np.eye(SKETCH)[0]
    sketches = dict(enumerate([honest] * 5 + [-3 * honest] * 2))
    shares = dict.fromkeys(range(7), 1 / 7)
    mean = np.mean(list(sketches.values()), axis=0)
    reward = Ledger.of({}).after(1, Seen(tuple(range(7)), sketches, mean, shares)).reward
    assert (reward[5:] < -0.99).all()
    median = Ledger.of({}).after(1, Seen(tuple(range(7)), sketches, honest)).reward
    np.testing.assert_allclose(median, [1] * 5 + [-1] * 2)
