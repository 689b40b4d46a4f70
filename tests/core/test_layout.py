import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.core.errors import DataError
from qfedfm.core.layout import Layout

shapes = st.dictionaries(
    st.text(min_size=1, max_size=8),
    st.lists(st.integers(1, 4), max_size=3).map(tuple),
    min_size=1,
    max_size=6,
)


@given(shapes, st.integers(0, 2**32 - 1))
def test_packing_and_unpacking_are_inverse(named, seed):
    layout = Layout.of(named)
    rng = np.random.default_rng(seed)
    tensors = {name: np.asarray(rng.normal(size=shape), np.float32) for name, shape in named.items()}
    vector = layout.pack(tensors)
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, np.concatenate([tensors[name].ravel() for name in named]))
    back = layout.unpack(vector)
    assert list(back) == list(named)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(back[name], tensor)


def test_offsets_follow_the_given_order():
    layout = Layout.of({"b": (2, 3), "a": (), "c": (4,)})
    assert [(e.name, e.shape, e.start, e.stop) for e in layout] == [
        ("b", (2, 3), 0, 6), ("a", (), 6, 7), ("c", (4,), 7, 11),
    ]  # fmt: skip
    assert layout.size == 11


def test_unpacked_tensors_are_views():
    layout = Layout.of({"a": (2, 2)})
    vector = np.zeros(4, np.float32)
    assert np.shares_memory(layout.unpack(vector)["a"], vector)


def test_the_digest_is_the_hash_of_names_shapes_and_order():
    layout = Layout.of({"w": (2, 3), "ü": (1,)})
    text = json.dumps([["w", [2, 3]], ["ü", [1]]])
    assert layout.digest == hashlib.sha256(text.encode()).digest()[:8]


@pytest.mark.parametrize(
    "other", [{"b": (2,), "a": (2,)}, {"a": (2,), "c": (2,)}, {"a": (2,), "b": (2, 1)}, {"a": (4,)}]
)
def test_the_digest_tells_order_names_and_shapes_apart(other):
    layout = Layout.of({"a": (2,), "b": (2,)})
    assert layout.digest != Layout.of(other).digest


@pytest.mark.parametrize("named", [{}, {"a": (0,)}, {"a": (2,), "b": (3, 0)}])
def test_nothing_to_send_is_refused(named):
    with pytest.raises(DataError):
        Layout.of(named)


def test_a_negative_axis_is_refused():
    for shape in ((-2,), (-2, -3)):
        with pytest.raises(DataError, match="'a'"):
            Layout.of({"a": shape})


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({"a": np.zeros(2)}, "nothing for tensor 'b'"),
        ({"a": np.zeros(2), "b": np.zeros((3, 1))}, "shape \\(3, 1\\)"),
        ({"a": np.zeros(2), "b": np.zeros((1, 3)), "z": np.zeros(1)}, "'z'"),
    ],
)
def test_packing_names_the_tensor_that_does_not_fit(tensors, named):
    with pytest.raises(DataError, match=named):
        Layout.of({"a": (2,), "b": (1, 3)}).pack(tensors)


@pytest.mark.parametrize("size", [0, 4, 6])
def test_unpacking_another_length_is_refused(size):
    with pytest.raises(DataError, match="vector of shape"):
        Layout.of({"a": (5,)}).unpack(np.zeros(size, np.float32))


def test_lora_pairs_are_found_for_square_and_rectangular_modules_in_any_order():
    query, up = "bert.encoder.layer.4.attention.self.query", "bert.encoder.layer.5.intermediate.dense"
    layout = Layout.of(
        {
            f"{query}.lora_B.default.weight": (8, 4),
            f"{query}.lora_A.default.weight": (4, 8),
            f"{up}.lora_A.default.weight": (4, 8),
            f"{up}.lora_B.default.weight": (32, 4),
            f"{up}.lora_A.second.weight": (2, 8),
            "x.lora_embedding_A.default": (4, 8),
            "x.lora_Alpha.weight": (4, 8),
            "conv.lora_A.weight": (4, 8, 1, 1),
            "conv.lora_B.weight": (8, 4, 1, 1),
            "classifier.weight": (3, 8),
        }
    )
    assert [(a.name, b.name) for a, b in layout.lora_pairs] == [
        (f"{query}.lora_A.default.weight", f"{query}.lora_B.default.weight"),
        (f"{up}.lora_A.default.weight", f"{up}.lora_B.default.weight"),
    ]


def test_blocks_gather_the_tensors_of_a_transformer_layer():
    names = [
        "bert.encoder.layer.4.query.lora_A", "bert.encoder.layer.4.value.lora_A", "bert.encoder.layer.11.query.lora_A",
        "model.layers.0.mlp.up", "transformer.h.3.attn.c", "vit.blocks.7.norm.weight", "path.3.weight",
        "classifier.weight", "classifier.bias", "scale",
    ]  # fmt: skip
    blocks = Layout.of(dict.fromkeys(names, (1,))).blocks
    assert {name: len(entries) for name, entries in blocks.items()} == {
        "bert.encoder.layer.4": 2, "bert.encoder.layer.11": 1, "model.layers.0": 1, "transformer.h.3": 1,
        "vit.blocks.7": 1, "path.3": 1, "classifier": 2, "": 1,
    }  # fmt: skip
    assert sum(len(entries) for entries in blocks.values()) == len(names)
