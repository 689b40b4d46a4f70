"""Rank pruning against a loop over pairs and components, its bound where it is tight, and what it may not accept."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qfedfm as qf
from qfedfm.core.distortion import Contractive
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At, Codec
from tests.layers.sides import client_at

LAYOUT = qf.Layout.of(
    {
        "layer.0.q.lora_A.weight": (4, 6),
        "layer.0.q.lora_B.weight": (5, 4),
        "layer.0.v.lora_B.weight": (7, 2),
        "layer.0.v.lora_A.weight": (2, 3),
        "head.weight": (2, 5),
        "head.bias": (),
    }
)
PAIRS = (
    ("layer.0.q.lora_A.weight", "layer.0.q.lora_B.weight", 4),
    ("layer.0.v.lora_A.weight", "layer.0.v.lora_B.weight", 2),
)
AT = replace(client_at(1), layout=LAYOUT)


def drawn(seed: int, levels: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).integers(-levels, levels + 1, LAYOUT.size).astype(np.float32)


def there_and_back(codec: Codec, x: np.ndarray, at: At = AT) -> np.ndarray:
    return codec.decode(codec.encode(x, at), at)


def by_hand(x: np.ndarray, rank: int) -> np.ndarray:
    """Component by component; of equal ones the first."""
    tensors = {name: tensor.copy() for name, tensor in LAYOUT.unpack(x).items()}
    for a, b, r in PAIRS:
        energies = [(-float(sum(tensors[a][i] ** 2) + sum(tensors[b][:, i] ** 2)), i) for i in range(r)]
        for _, i in sorted(energies)[rank:]:
            tensors[a][i] = 0
            tensors[b][:, i] = 0
    return LAYOUT.pack(tensors)


@given(st.integers(0, 999), st.integers(1, 5), st.sampled_from([1, 1000]))
def test_the_components_of_most_energy_are_sent(seed, rank, levels):
    x = drawn(seed, levels)
    np.testing.assert_array_equal(there_and_back(qf.layers.RankPruning(rank), x), by_hand(x, rank))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_other_choice_is_nearer(rank):
    """Of all sets of components of a pair, the one that is sent leaves the least."""
    x = drawn(3)
    x[np.r_[20:40, 44 : LAYOUT.size]] = 0  # all but A of q, which is the first 24, and the v pair, stay zero
    left = float(((there_and_back(qf.layers.RankPruning(rank), x) - x)[:44] ** 2).sum())
    A, B = x[:24].reshape(4, 6), x[24:44].reshape(5, 4)
    all_left = [
        sum(float((A[i] ** 2).sum() + (B[:, i] ** 2).sum()) for i in set(range(4)) - set(chosen))
        for chosen in combinations(range(4), rank)
    ]
    assert left == pytest.approx(min(all_left))


def test_what_is_left_out_leaves_its_term_of_the_product_as_it_was():
    """(B + ΔB)(A + ΔA) = Σ (bᵢ + Δbᵢ)(aᵢ + Δaᵢ)ᵀ, where the terms that are not sent stay bᵢaᵢᵀ."""
    model, x = LAYOUT.unpack(drawn(1, 9)), drawn(2, 9)
    found = LAYOUT.unpack(there_and_back(qf.layers.RankPruning(2), x))
    a, b, _ = PAIRS[0]
    kept = np.flatnonzero(found[a].any(axis=1) | found[b].any(axis=0))
    assert len(kept) == 2
    product = (model[b] + found[b]) @ (model[a] + found[a])
    delta = LAYOUT.unpack(x)
    terms = [np.outer(model[b][:, i], model[a][i]) for i in range(4)]
    for i in kept:
        terms[i] = np.outer(model[b][:, i] + delta[b][:, i], model[a][i] + delta[a][i])
    np.testing.assert_allclose(product, sum(terms))


def test_the_bound_is_met_where_all_components_are_equal():
    x = np.zeros(LAYOUT.size, np.float32)
    x[:44] = 3  # the pair of rank 4, which loses most
    codec = qf.layers.RankPruning(1)
    assert codec.distortion(LAYOUT) == Contractive(0.25)
    assert ((there_and_back(codec, x) - x) ** 2).sum() == pytest.approx(0.75 * (x**2).sum())
    assert qf.layers.RankPruning(2).distortion(LAYOUT) == Contractive(0.5)
    assert qf.layers.RankPruning(4).distortion(LAYOUT) == Contractive(1.0)
    half = qf.layers.RankPruning(1, qf.layers.Bfloat16())
    assert half.distortion(LAYOUT) == Contractive(0.25 * (1 - 2.0**-16))


def test_the_body_is_as_long_as_its_components():
    """Of 24 pairs of rank 8: 2 of 8 components, of which the set takes at most a bit each."""
    shapes = {f"l.{i}.lora_{side}.w": (8, 40) if side == "A" else (40, 8) for i in range(24) for side in "AB"}
    layout = qf.Layout.of({**shapes, "head": (10,)})
    x = np.random.default_rng(0).normal(size=layout.size).astype(np.float32)
    codec, at = qf.layers.RankPruning(2), replace(AT, layout=layout)
    body = codec.encode(x, at)
    values = 4 * (24 * 2 * 80 + 10)
    assert values + 15 < len(body) <= codec.largest(layout) == values + 25


def test_without_pairs_everything_is_sent():
    x = np.random.default_rng(0).normal(size=9).astype(np.float32)
    codec = qf.layers.RankPruning(1)
    assert codec.encode(x, client_at(9)) == x.tobytes()
    np.testing.assert_array_equal(there_and_back(codec, x, client_at(9)), x)
    assert codec.distortion(client_at(9).layout) == Contractive(1.0)


def test_values_through_bfloat16_are_those_of_bfloat16():
    x = np.random.default_rng(0).normal(size=LAYOUT.size).astype(np.float32)
    half = qf.layers.Bfloat16()
    exact = there_and_back(qf.layers.RankPruning(1), x)
    np.testing.assert_array_equal(there_and_back(qf.layers.RankPruning(1, half), x), there_and_back(half, exact))


def test_a_body_with_other_numbers_of_components_is_refused():
    """Two of the six components, but both of the same pair."""
    codec = qf.layers.RankPruning(1)
    body = codec.encode(drawn(0), AT)
    assert body[0] == 0  # a bit for each component
    for bits in (0b11000000, 0b00001100):
        with pytest.raises(PayloadError, match=r"\[1, 1\]"):
            codec.decode(bytes([0, bits]) + body[2:], AT)
    assert codec.decode(bytes([0, 0b01000100]) + body[2:], AT).any()
    for altered in (body[:-1], body + b"\0"):
        with pytest.raises(PayloadError):
            codec.decode(altered, AT)


def test_a_rank_of_none_and_a_codec_that_remembers_are_refused():
    with pytest.raises(ConfigError, match="rank"):
        qf.layers.RankPruning(0)
    with pytest.raises(ConfigError, match="instead"):
        qf.layers.RankPruning(1, qf.layers.EF21(qf.layers.Bfloat16()))
