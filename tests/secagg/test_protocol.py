import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError, RoundError, StackError
from qfedfm.core.ring import Ring
from qfedfm.qkd.entropy import Seeded, System
from qfedfm.secagg.client import Client, Step
from qfedfm.secagg.graph import Regular, regular
from qfedfm.secagg.identity import Identity
from qfedfm.secagg.keystream import Stream
from qfedfm.secagg.messages import OVERHEAD
from qfedfm.secagg.protocol import Member, play
from qfedfm.secagg.shares import Dealt
from qfedfm.secagg.topology import InsecureTopologyWarning, Topology
from tests.secagg.parties import inputs_of, members, plain, plan_of, publics, same


def a_round(draw):
    """Any plan, and any clients that fall silent at any step as long as enough are left for it."""
    count = draw(st.integers(2, 8))
    clients = sorted(draw(st.sets(st.integers(0, 50), min_size=count, max_size=count)))
    colluders = draw(st.integers(0, max(0, (count - 2) // 2)))
    bits = draw(st.sampled_from([32, 64]))
    plan = plan_of(clients, draw(st.integers(1, 9)), colluders, ring=Ring(bits), stream=draw(st.sampled_from(Stream)))
    most = count - plan.survivors_needed
    leaving = draw(st.permutations(clients))[: draw(st.integers(0, most))]
    return plan, {client: draw(st.sampled_from(list(Step)[:5])) for client in leaving}


@settings(max_examples=40)
@given(st.data(), st.integers(0, 1000))
def test_the_masked_sum_is_the_plain_sum_to_the_last_bit(data, seed):
    plan, silent = a_round(data.draw)
    inputs = inputs_of(plan, seed)
    found = play(plan, members(plan.clients), inputs, silent=silent)
    left = [client for client in plan.clients if silent.get(client, Step.OVER) > Step.MASK]
    assert found.opened.survivors == tuple(left)
    assert same(found.opened, inputs)
    assert found.refused == {}


@pytest.mark.parametrize("dropouts", [0, 3])
def test_a_regular_graph_gives_the_same_sum_with_fewer_masks(dropouts):
    plan = plan_of(range(40), graph=Regular(12, 2, 8), colluders=4)
    inputs = inputs_of(plan)
    silent = dict.fromkeys([5, 17, 33][:dropouts], Step.MASK)
    found = play(plan, members(plan.clients), inputs, silent=silent)
    assert len(found.opened.survivors) == 40 - dropouts
    assert same(found.opened, inputs)
    signature = 64
    assert found.uplink["share"] == 40 * (OVERHEAD + signature + Dealt.length(12))


def test_the_numbers_that_are_chosen_for_a_regular_graph_make_a_plan():
    graph = regular(120, 6, 6, 0.01)
    plan = plan_of(range(120), 3, 6, graph=graph)
    assert plan.threshold == graph.threshold
    assert plan.survivors_needed == 64


def test_it_is_said_that_secrets_follow_from_a_seed():
    plan = plan_of(range(3))
    seeded, fresh = members(plan.clients, seed=1), members(plan.clients)
    mixed = {**members(plan.clients), 1: members(plan.clients, seed=2)[1]}
    found = [play(plan, given, inputs_of(plan)).randomness for given in (seeded, fresh, mixed)]
    assert found == [Seeded.label, System.label, f"{System.label}; {Seeded.label}"]
    assert "INSECURE" in found[2]


def test_all_bytes_are_counted():
    """Closed forms of every message of a complete round without dropouts; Ed25519 signatures have 64 bytes."""
    n, d = 5, 7
    plan = plan_of(range(n), d)
    found = play(plan, members(plan.clients), inputs_of(plan))
    frame = OVERHEAD + 64
    assert found.uplink == {
        "advertise": n * (frame + 64),
        "share": n * (frame + 112 + 240 * (n - 1)),
        "mask": n * (frame + 4 * (d + 1)),
        "consent": n * (frame + 32),
        "reveal": n * (frame + 48 * n),
    }
    ids = 4 + 4 * n
    assert found.downlink == {
        "advertise": 0,
        "share": n * (OVERHEAD + ids + n * (frame + 64)),
        "mask": n * (OVERHEAD + ids + (n - 1) * 176),
        "consent": n * (OVERHEAD + ids),
        "reveal": n * (OVERHEAD + ids + n * (frame + 32)),
    }


def test_signatures_of_two_schemes_in_one_round():
    clients = range(4)
    identities = {client: Identity.new("ml-dsa-65" if client % 2 else "ed25519") for client in clients}
    known = {client: one.public for client, one in identities.items()}
    players = {client: Member(client, identities[client], known) for client in clients}
    plan = plan_of(clients)
    assert same(play(plan, players, inputs_of(plan), silent={1: Step.MASK}).opened, inputs_of(plan))


def links(clients, seed: int = 3) -> dict[int, dict[int, bytes]]:
    rng = np.random.default_rng(seed)
    key = {(u, v): rng.bytes(32) for u in clients for v in clients if u < v}
    return {u: {v: key[min(u, v), max(u, v)] for v in clients if u != v} for u in clients}


@pytest.mark.parametrize("topology", [Topology.DIRECT, Topology.RELAYS])
@pytest.mark.parametrize("agreement", [True, False])
def test_keys_of_links_alone_or_with_an_agreement(topology, agreement):
    plan = plan_of(range(5), topology=topology, agreement=agreement)
    found = play(plan, members(plan.clients), inputs_of(plan), silent={0: Step.MASK}, keys=links(plan.clients))
    assert same(found.opened, inputs_of(plan))


def test_a_link_whose_ends_have_other_keys_is_found_before_anything_is_masked():
    plan, keys = plan_of(range(6), topology=Topology.DIRECT, agreement=False), links(range(6))
    for other in (1, 2, 3, 4, 5):
        keys[0][other] = bytes(32)
    found = play(plan, members(plan.clients), inputs_of(plan), keys=keys)
    assert found.opened.survivors == (1, 2, 3, 4, 5)
    assert same(found.opened, inputs_of(plan))
    assert "other mask keys than 5" in found.refused[0]


def test_a_missing_or_short_key_of_a_link():
    plan = plan_of(range(3), topology=Topology.DIRECT)
    with pytest.raises(ConfigError, match="too short"):
        members(range(3))[0].join(plan, {1: b"short", 2: bytes(32)})
    keys = links(range(3))
    del keys[0][2]
    found = play(plan, members(range(3)), inputs_of(plan), keys=keys)
    assert "no key for the link between clients 0 and 2" in found.refused[0]
    assert found.opened.survivors == (1, 2)


def test_a_star_of_keys_hides_nothing_from_the_server():
    for topology in (Topology.STAR, Topology.NONE):
        with pytest.raises(StackError, match="nobody"):
            plan_of(range(3), topology=topology, agreement=False)
    with pytest.warns(InsecureTopologyWarning, match="knows all masks"):
        plan = plan_of(range(3), topology=Topology.STAR)
    assert same(play(plan, members(range(3)), inputs_of(plan), keys=links(range(3))).opened, inputs_of(plan))
    assert len({topology.hides for topology in Topology}) == 4


def test_one_client_is_refused():
    with pytest.raises(ConfigError, match="at least two"):
        plan_of([3])


def test_all_drop_or_one_too_many():
    plan = plan_of(range(5), colluders=1)
    assert plan.survivors_needed == 4
    for silent in (dict.fromkeys(range(5), Step.MASK), {0: Step.MASK, 1: Step.MASK}, {0: Step.SHARE, 4: Step.MASK}):
        with pytest.raises(RoundError, match="at least 4"):
            play(plan, members(plan.clients), inputs_of(plan), silent=silent)
    for step, text in ((Step.CONSENT, "signatures"), (Step.REVEAL, "shares of the mask")):
        with pytest.raises(RoundError, match=text):
            play(plan, members(plan.clients), inputs_of(plan), silent=dict.fromkeys((0, 1), step))


def test_a_round_is_not_played_twice():
    plan = plan_of(range(3))
    known = members(plan.clients)
    play(plan, known, inputs_of(plan))
    for epoch, number in ((0, 1), (0, 0)):
        with pytest.raises(ConfigError, match="after epoch 0, round 1"):
            play(plan_of(range(3), epoch=epoch, round=number), known, inputs_of(plan))
    again = plan_of(range(3), epoch=1, round=1)
    assert same(play(again, known, inputs_of(again)).opened, inputs_of(again))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"clients": (2, 1, 3)}, ConfigError),
        ({"clients": (1, 1, 3)}, ConfigError),
        ({"clients": range(300)}, ConfigError),
        ({"colluders": 4}, ConfigError),
        ({"colluders": -1}, ConfigError),
        ({"minimum": 2}, ConfigError),
        ({"minimum": 6}, ConfigError),
        ({"length": 0}, ConfigError),
        ({"layout": b"short"}, ConfigError),
        ({"round": -1}, ConfigError),
        ({"bound": 2**31}, StackError),
        ({"max_weight": 2**31}, StackError),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value.__name__,
)
def test_plans_that_are_refused(wrong, error):
    plan_of(clients=range(5))
    with pytest.raises(error):
        plan_of(**{"clients": range(5), **wrong})


def test_numbers_beyond_the_plan_are_refused_at_the_client():
    plan = plan_of(range(3), length=2)
    least = np.iinfo(np.int64).min
    for q, weight in (([0, 1001], 1), ([-1001, 0], 1), ([least, 0], 1), ([0, 0, 0], 1), ([0, 0], 0), ([0, 0], 51)):
        inputs = {**inputs_of(plan), 0: (np.array(q), weight)}
        found = play(plan, members(range(3)), inputs)
        assert found.opened.survivors == (1, 2)
        assert same(found.opened, {1: inputs[1], 2: inputs[2]})
        assert "a weight from 1 to 50" in found.refused[0]


def test_an_identity_that_others_do_not_know_is_refused():
    plan = plan_of(range(3))
    with pytest.raises(ConfigError, match="another identity"):
        Client(plan, 0, Identity.new(), publics(range(3)))
    with pytest.raises(ConfigError, match="invited"):
        Client(plan, 9, Identity.new(), publics(range(10)))


def test_the_plain_sum_of_the_tests_is_a_sum():
    assert plain({1: (np.array([2, -3]), 4), 2: (np.array([1, 1]), 1)}, (1, 2)) == ([9, -11], 5)
