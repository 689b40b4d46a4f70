import hashlib
import json

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import PayloadError, StackError
from qfedfm.core.float32 import Float32Codec
from qfedfm.core.layout import Layout
from qfedfm.core.stack import bind, stack
from qfedfm.core.wire import OVERHEAD
from tests.core.parts import (
    LAYOUT,
    Average,
    Blind,
    Collapse,
    Halves,
    Judge,
    Pairs,
    PerClient,
    Plus,
    Reorder,
    Shorten,
    Times,
    at,
    cohort,
    server_at,
)  # fmt: skip

DELTA = np.array([1.0, -2.0, 0.5, 3.0, -0.25], np.float32)
POPULATION = (1, 2, 3)


def bound(*layers, reduce=None, population=POPULATION, cohort=3, validation=0):
    return bind(stack(*layers, reduce=reduce or Average()), LAYOUT, population, cohort=cohort, validation=validation)


def test_parts_are_sorted_into_their_places():
    made = stack(Times(), Plus(), Halves(), Pairs(), reduce=Average())
    assert [part.name for part in made.parts] == ["times", "plus", "halves", "pairs", "average"]
    assert stack(reduce=Average()).codec == Float32Codec()


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ((Halves(), Times()), "vector layer 'times' after codec 'halves'"),
        ((Pairs(), Halves()), "codec 'halves' after cohort layer 'pairs'"),
        ((Pairs(), Times()), "vector layer 'times' after cohort layer 'pairs'"),
        ((Halves(), Float32Codec()), "two codecs, 'halves' and 'float32'"),
        ((Halves(), Times(), Halves()), "after codec"),
    ],
)
def test_layers_out_of_order_are_refused(layers, named):
    with pytest.raises(StackError, match=named):
        stack(*layers, reduce=Average())


@pytest.mark.usefixtures("unchecked")
def test_a_part_of_another_kind_is_refused_and_not_dropped():
    with pytest.raises(StackError, match="reduce 'average' among the layers"):
        stack(Average(), reduce=Average())
    with pytest.raises(StackError, match="codec 'halves' as the reduce"):
        stack(reduce=Halves())


def test_merged_rows_under_a_reduce_of_single_clients_are_refused():
    with pytest.raises(StackError, match="merges the rows"):
        stack(Pairs(), reduce=PerClient())
    stack(Reorder(), reduce=PerClient())


def test_the_digest_covers_the_client_halves_and_their_options_only():
    made = stack(Times(3.0), Halves(), Pairs(), reduce=Average())
    text = json.dumps([{"factor": 3.0, "name": "times"}, {"name": "halves"}])
    assert made.digest == hashlib.sha256(text.encode()).digest()[:8]
    assert made.digest == stack(Times(3.0), Halves(), reduce=PerClient()).digest
    others = [(Times(2.0), Halves()), (Times(3.0),), (Halves(),), (Plus(), Times(3.0), Halves())]
    assert len({made.digest, *(stack(*layers, reduce=Average()).digest for layers in others)}) == 5


def test_layers_are_undone_in_the_reverse_order():
    payload = bound(Times(), Plus(), Halves()).encode(DELTA, at())
    np.testing.assert_array_equal(np.frombuffer(payload[OVERHEAD + 1 :], "<f2"), DELTA * 2 + 1)
    np.testing.assert_array_equal(bound(Times(), Plus(), Halves()).decode(payload, at()), DELTA)


def test_a_changed_coordinate_in_the_bytes_changes_the_vector():
    pair = bound()
    payload = bytearray(pair.encode(DELTA, at()))
    body = np.frombuffer(payload, "<f4", offset=OVERHEAD)
    body[3] = 7.0
    payload[OVERHEAD - 8 : OVERHEAD] = hashlib.blake2b(payload[:52] + payload[OVERHEAD:], digest_size=8).digest()
    assert pair.decode(bytes(payload), at())[3] == 7.0


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (at(client=3), "client 2"),
        (at(round=2), "round 1"),
        (at(epoch=1), "epoch 0"),
        (at(samples=11), "claims 10 samples"),
    ],
)
def test_a_payload_for_somewhere_else_is_refused(other, named):
    payload = bound().encode(DELTA, at())
    with pytest.raises(PayloadError, match=named):
        bound().decode(payload, other)


def test_a_payload_of_another_stack_or_layout_is_refused():
    payload = bound(Times()).encode(DELTA, at())
    with pytest.raises(PayloadError, match="stack"):
        bound(Times(3.0)).decode(payload, at())
    other = bind(stack(Times(), reduce=Average()), Layout.of({"a": (5,)}), POPULATION, cohort=3, validation=0)
    with pytest.raises(PayloadError, match="layout"):
        other.decode(payload, at())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_neither_sent_nor_accepted(value):
    wrong = DELTA.copy()
    wrong[1] = value
    with pytest.raises(PayloadError, match=r"\(a\)"):
        bound().encode(wrong, at())
    with pytest.raises(PayloadError, match="shape"):
        bound().encode(DELTA[:4], at())


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_layer_that_leaves_the_numbers_or_the_length_is_caught_on_both_sides():
    huge = np.full(5, 3e38, np.float32)
    with pytest.raises(PayloadError, match="inf"):
        bound(Times(10.0)).encode(huge, at())
    payload = bound(Times(0.01)).encode(huge, at())
    np.testing.assert_allclose(bound(Times(0.01)).decode(payload, at()), huge, rtol=1e-6)
    with pytest.raises(PayloadError, match="shape"):
        bound(Shorten()).decode(bound(Shorten()).encode(DELTA, at()), at())


@pytest.mark.parametrize(
    ("layers", "least", "needed"),
    [
        ((), 1, 1),
        ((), 5, 5),
        ((Pairs(),), 3, 5),
        ((Pairs(), Pairs()), 3, 9),
        ((Pairs(least=4),), 1, 4),
        ((Pairs(), Pairs(least=4)), 1, 7),
        ((Collapse(),), 1, 1),
    ],
)
def test_the_fewest_clients_follow_the_rows_through_the_layers(layers, least, needed):
    many = bound(*layers, reduce=Average(least), population=tuple(range(20)), cohort=20)
    assert many.minimum_clients() == needed
    assert bound(*layers, reduce=Average(least), cohort=needed).minimum_clients() == needed
    if needed > 1:
        with pytest.raises(StackError, match=f"at least {needed}"):
            bound(*layers, reduce=Average(least), cohort=needed - 1)


def test_a_reduce_that_no_number_of_clients_can_satisfy_is_refused():
    with pytest.raises(StackError, match="'average', which needs 2 rows"):
        bound(Collapse(), reduce=Average(2), cohort=10)


@pytest.mark.parametrize("population", [(-1, 2, 3), (1, 2, 2**32 - 1), (1, 2, 2)])
def test_client_ids_that_a_header_cannot_tell_apart_are_refused(population):
    with pytest.raises(StackError, match="client ids"):
        bound(population=population)


def test_an_objective_needs_validation_rows():
    with pytest.raises(StackError, match=r"validation data on the server.*task\.validation"):
        bound(reduce=Judge())
    assert bound(reduce=Judge(), validation=1).stack.reduce == Judge()


def test_weights_of_rows_are_taken_back_to_clients():
    five = cohort(5)
    reduced, _ = bound(Pairs(), Pairs(), cohort=5).reduce(five, {}, server_at())
    assert reduced.client_weights == pytest.approx({10: 1 / 8, 11: 1 / 8, 12: 1 / 8, 13: 1 / 8, 14: 1 / 2})
    weights = np.array([reduced.client_weights[client] for client in five.clients])
    np.testing.assert_allclose(reduced.vector, weights @ five.X, rtol=1e-5, atol=1e-7)


def test_without_mixing_the_weights_belong_to_the_rows():
    reduced, _ = bound(Reorder()).reduce(cohort(3), {}, server_at())
    assert reduced.client_weights == pytest.approx({10: 1 / 3, 11: 1 / 3, 12: 1 / 3})
    assert list(reduced.client_weights) == [12, 11, 10]


def test_a_reduce_without_weights_gives_none():
    assert bound(reduce=Blind()).reduce(cohort(3), {}, server_at())[0].client_weights is None


def test_state_goes_in_and_comes_out():
    pair = bound()
    state = pair.init()
    assert state == {}
    for expected in (1, 2):
        _, state = pair.reduce(cohort(3), state, server_at())
        assert state["rounds"] == expected


def test_a_layer_that_is_undone_client_by_client_cannot_stand_under_a_sum():
    layers, mean = (qf.layers.FixedPoint(reach=1.0), qf.layers.SecureSum()), qf.reduces.Mean()
    assert stack(qf.layers.Clip(), *layers, reduce=mean).summed is layers[1]
    with pytest.raises(StackError, match="undone client by client"):
        stack(Times(), *layers, reduce=mean)
