"""Bodies come back as they were, have the stated lengths, and what is not one of them is refused before it costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.core import wire
from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.split.lowrank import Answer, Factors, Spectrum
from qfedfm.split.messages import (
    FeatureFormat,
    Features,
    model_length,
    pays,
    read_answer,
    read_counts,
    read_model,
    read_whole,
    write_counts,
    write_gradient,
    write_numbers,
)
from qfedfm.split.post import Letter, Post, total

FORMAT = FeatureFormat(width=12, classes=5, most=20)
LETTER = Letter("core", wire.UP, "features", Layout.of({"features": (3, 4)}))


def features(rows=10, rank=2, form=FORMAT):
    rng = Key.of(1).fold("features").numpy()
    x = rng.normal(size=(rows, form.width)).astype(np.float32)
    return Features(rng.integers(0, form.classes, rows), Spectrum.of(x).truncated(rank) if rank else x)


def patched(body, start, values):
    return memoryview(body[:start] + values + body[start + len(values) :])


@pytest.mark.parametrize(("rows", "rank"), [(10, 2), (10, 5), (1, 0), (20, 0), (20, 7)])
def test_features_come_back(rows, rank):
    sent = features(rows, rank)
    body = FORMAT.write(3, sent)
    numbers = rank * (rows + 12) if rank else rows * 12
    assert len(body) == 4 + 4 + rows + 4 * numbers <= FORMAT.largest
    found = FORMAT.read(memoryview(body), rows, 3)
    assert np.array_equal(found.labels, sent.labels)
    assert np.array_equal(found.dense, sent.dense)
    assert isinstance(found.matrix, Factors) == bool(rank)


def test_labels_of_many_classes_take_two_bytes():
    form = FeatureFormat(width=1, classes=300, most=2)
    sent = Features(np.array([299, 0]), np.zeros((2, 1), np.float32))
    assert len(form.write(0, sent)) == 4 + 4 + 2 * 2 + 4 * 2
    assert form.read(memoryview(form.write(0, sent)), 2, 0).labels.tolist() == [299, 0]


@given(st.integers(0, 30), st.integers(1, 30), st.integers(1, 30))
def test_factors_travel_only_where_they_are_shorter(rank, rows, width):
    assert pays(rank, rows, width) == (rank > 0 and rank * rows + rank * width < rows * width)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda body: memoryview(body[:-1]), "ends 1 bytes early"),
        (lambda body: memoryview(body + b"\0"), "1 bytes too many"),
        (lambda body: memoryview(b""), "early"),
        (lambda body: patched(body, 0, b"\x09"), "step 9"),
        (lambda body: patched(body, 4, b"\xff\xff\xff\xff"), "rank 4294967295"),
        (lambda body: patched(body, 4, b"\x03"), "early"),
        (lambda body: patched(body, 4, b"\0"), "early"),
        (lambda body: patched(body, 8, b"\x05"), "label 5"),
        (lambda body: patched(body, 18, np.float32(np.nan).tobytes()), "not finite"),
        (lambda body: patched(body, len(body) - 4, np.float32(np.inf).tobytes()), "not finite"),
    ],
)
def test_other_features_are_refused(change, words):
    body = FORMAT.write(3, features())
    with pytest.raises(PayloadError, match=words):
        FORMAT.read(change(body), 10, 3)


@pytest.mark.parametrize("samples", [0, 21, 2**63])
def test_the_rows_of_the_header_are_bounded(samples):
    with pytest.raises(PayloadError, match="1 to 20"):
        FORMAT.read(memoryview(FORMAT.write(3, features())), samples, 3)


@given(st.binary(max_size=200), st.integers(1, 20), st.integers(0, 3))
def test_garbage_is_refused_or_finite(body, samples, step):
    try:
        found = FORMAT.read(memoryview(body), samples, step)
    except PayloadError:
        return
    assert np.isfinite(found.dense).all()
    assert found.dense.shape == (samples, 12)


@pytest.mark.parametrize("correction", ["projected", "tangent", "exact"])
def test_gradients_come_back(correction):
    factors = features().matrix
    right = None if correction == "projected" else np.ones((10, 2), np.float32)
    sent = Answer(np.arange(24, dtype=np.float32).reshape(2, 12), right)
    body = memoryview(write_gradient(5, sent))
    found = read_answer(body, 5, factors, correction)
    assert np.array_equal(found.left, sent.left)
    assert (found.right is None) if right is None else np.array_equal(found.right, right)
    other = "tangent" if correction == "projected" else "projected"
    for wrong in ((5, factors, other), (4, factors, correction)):
        with pytest.raises(PayloadError):
            read_answer(body, *wrong)


def test_whole_gradients_models_and_counts_come_back():
    x = np.arange(6, dtype=np.float32)
    body = memoryview(write_gradient(2, x.reshape(2, 3)))
    assert len(body) == model_length(6) == 28
    assert np.array_equal(read_whole(body, 2, 2, 3), x.reshape(2, 3))
    assert np.array_equal(read_model(body, 2, 6), x)
    for wrong in ((2, 5), (2, 7), (1, 6)):
        with pytest.raises(PayloadError):
            read_model(body, *wrong)
    counts = np.array([3, 0, 2])
    assert read_counts(memoryview(write_counts(counts)), 3, 5).tolist() == [3, 0, 2]
    for wrong in ((3, 6), (2, 5), (4, 5)):
        with pytest.raises(PayloadError):
            read_counts(memoryview(write_counts(counts)), *wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_sent(bad):
    with pytest.raises(PayloadError, match="not finite"):
        write_numbers(0, np.float32([0, bad]))
    with pytest.raises(PayloadError, match="not finite"):
        FORMAT.write(0, Features(np.array([0]), np.full((1, 12), bad, np.float32)))


def test_a_payload_is_read_as_what_it_is():
    post = Post(1, 2)
    payload = post.seal(LETTER, 7, b"body", 3)
    body, samples = post.open(LETTER, 7, payload, 4)
    assert (bytes(body), samples) == (b"body", 3)
    others = [
        (post, Letter("edge", wire.UP, "features", LETTER.layout), 7, 4),
        (post, Letter("core", wire.DOWN, "features", LETTER.layout), 7, 4),
        (post, Letter("core", wire.UP, "gradients", LETTER.layout), 7, 4),
        (post, Letter("core", wire.UP, "features", Layout.of({"features": (4, 3)})), 7, 4),
        (post, LETTER, 8, 4),
        (post, LETTER, 7, 3),
        (Post(1, 3), LETTER, 7, 4),
        (Post(2, 2), LETTER, 7, 4),
    ]
    for other, letter, who, largest in others:
        with pytest.raises(PayloadError):
            other.open(letter, who, payload, largest)
    for place in range(len(payload)):
        with pytest.raises(PayloadError):
            post.open(LETTER, 7, payload[:place] + bytes([payload[place] ^ 1]) + payload[place + 1 :], 4)


def test_every_payload_is_counted():
    post = Post(0, 1)
    lengths = [len(post.seal(LETTER, who, bytes(who))) for who in range(3)]
    broadcast = post.seal(Letter("core", wire.DOWN, "models", LETTER.layout), wire.EVERYONE, b"abc", copies=4)
    assert post.traffic["core"] == {"up": {"features": sum(lengths)}, "down": {"models": 4 * len(broadcast)}}
    assert total(post.traffic, "core", "up") == sum(lengths) == 3 * wire.OVERHEAD + 3
    assert total(post.traffic, "edge", "up") == 0
