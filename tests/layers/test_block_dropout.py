"""Block dropout against a brute force of the greedy choice, and what the kept blocks travel as."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qfedfm as qf
from qfedfm.core.distortion import Bounded, Contractive
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At

SHAPES = {
    "encoder.layer.0.query.lora_A.weight": (2, 6),
    "encoder.layer.0.query.lora_B.weight": (6, 2),
    "encoder.layer.1.query.lora_A.weight": (2, 6),
    "encoder.layer.1.query.lora_B.weight": (6, 2),
    "encoder.layer.2.key.lora_A.weight": (3, 6),
    "classifier.weight": (4, 6),
    "classifier.bias": (4,),
}
LAYOUT = qf.Layout.of(SHAPES)
AT = At(0, 1, 0, qf.Key.of(0), LAYOUT, 10)
BLOCKS = [["0.query.lora_A", "0.query.lora_B"], ["1.query.lora_A", "1.query.lora_B"], ["2.key"], ["classifier"]]


def members(part: list[str]) -> np.ndarray:
    chosen = np.zeros(LAYOUT.size, bool)
    for entry in LAYOUT:
        if any(piece in entry.name for piece in part):
            chosen[entry.start : entry.stop] = True
    return chosen


@given(st.floats(0.05, 1), st.integers(0, 200))
def test_the_kept_blocks_are_those_of_a_greedy_choice(keep, seed):
    rng = np.random.default_rng(seed)
    masks = [members(part) for part in BLOCKS]
    x = sum(mask * rng.uniform(0.1, 3) * rng.normal(size=LAYOUT.size) for mask in masks).astype(np.float32)
    importance = [np.linalg.norm(x[mask]) / mask.sum() for mask in masks]
    expected, used = np.zeros(LAYOUT.size, bool), 0
    for number in sorted(range(len(masks)), key=lambda number: -importance[number]):
        if used + masks[number].sum() <= keep * LAYOUT.size or not used:
            expected |= masks[number]
            used += masks[number].sum()
    codec = qf.layers.BlockDropout(keep=keep)
    body = codec.encode(x, AT)
    np.testing.assert_array_equal(codec.decode(body, AT), np.where(expected, x, 0))
    assert len(body) == 1 + 4 * used


def test_nnadq_sees_the_kept_tensors_one_by_one():
    x = np.where(members(BLOCKS[0]), 1000, 0.001).astype(np.float32) * np.linspace(
        0.5, 1, LAYOUT.size, dtype=np.float32
    )
    codec = qf.layers.BlockDropout(keep=0.4, values=qf.layers.Nnadq())
    back = codec.decode(codec.encode(x, AT), AT)
    alone = qf.layers.Nnadq()
    kept = qf.Layout.of({name: shape for name, shape in SHAPES.items() if "layer.0" in name})
    at = At(0, 1, 0, qf.Key.of(0), kept, 10)
    expected = alone.decode(alone.encode(x[members(BLOCKS[0])], at), at)
    np.testing.assert_array_equal(back[members(BLOCKS[0])], expected)
    assert not back[~members(BLOCKS[0])].any()


def test_what_is_declared():
    assert qf.layers.BlockDropout(values=qf.layers.Nnadq()).distortion(LAYOUT) == Bounded(1.0)
    assert qf.layers.BlockDropout().distortion(LAYOUT) == Contractive(0.0)
    with pytest.raises(ConfigError, match="up to 1"):
        qf.layers.BlockDropout(values=qf.layers.RandomK(fraction=0.1)).distortion(LAYOUT)
    with pytest.raises(ConfigError, match="remembers"):
        qf.layers.BlockDropout(values=qf.layers.EF21(qf.layers.Bfloat16()))


@pytest.mark.parametrize("body", [b"", b"\0", b"\x80", b"\x10" + bytes(400)])
def test_a_body_of_other_blocks_is_refused(body):
    with pytest.raises(PayloadError):
        qf.layers.BlockDropout().decode(body, AT)
