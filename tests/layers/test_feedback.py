"""Error feedback and EF21: nothing is lost for good, and a quadratic is minimised although the codec is biased."""

from dataclasses import dataclass

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.distortion import Contractive, Unbiased
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At, Codec

LAYOUT = qf.Layout.of({"w": (8,)})


def at(round_: int = 1, client: int = 0) -> At:
    return At(0, round_, client, qf.Key.of(0).fold(round_, client), LAYOUT, 10)


@dataclass(frozen=True)
class Largest(Codec):
    """Keeps the coordinate of largest magnitude: biased, contractive with 1/d."""

    name = "largest"

    def encode(self, x, at):
        kept = np.zeros_like(x)
        place = int(np.abs(x).argmax())
        kept[place] = x[place]
        return kept.tobytes()

    def decode(self, body, at):
        if len(body) != 4 * at.layout.size:
            raise PayloadError("a body of another length")
        return np.frombuffer(body, np.float32).copy()

    def largest(self, layout):
        return 4 * layout.size

    def distortion(self, layout):
        return Contractive(1 / layout.size)


@dataclass(frozen=True)
class Loud(Largest):
    """A random half of the coordinates, doubled: unbiased with ω = 1."""

    name = "loud"

    def encode(self, x, at):
        kept = at.key.numpy().random(x.size) < 0.5
        return np.where(kept, 2 * x, 0).astype(np.float32).tobytes()

    def distortion(self, layout):
        return Unbiased(1.0)


def rounds(codec, updates):
    """What the server decodes of a client's updates, and the client's memory after them."""
    memory, mirror, decoded = codec.memory(LAYOUT), codec.mirror(LAYOUT), []
    for number, x in enumerate(updates):
        body, memory = codec.send(x, memory, at(number))
        found, mirror = codec.receive(body, mirror, at(number))
        decoded.append(found)
    return np.array(decoded), memory


@pytest.mark.parametrize("inner", [Largest(), Loud()])
def test_what_was_sent_and_what_is_left_over_add_up_to_the_updates(inner):
    updates = np.random.default_rng(1).normal(size=(40, 8)).astype(np.float32)
    decoded, memory = rounds(qf.layers.ErrorFeedback(inner), updates)
    np.testing.assert_allclose(decoded.sum(0) + memory["error"], updates.sum(0), atol=1e-4)


def test_ef21_arrives_at_an_update_that_stays_the_same():
    x = np.random.default_rng(2).normal(size=8).astype(np.float32)
    decoded, memory = rounds(qf.layers.EF21(Largest()), [x] * 8)
    np.testing.assert_array_equal(decoded[-1], x)  # one coordinate a round
    np.testing.assert_array_equal(memory["followed"], x)


def quadratic(codec, steps=2000, rate=0.1):
    """Distance from the optimum of two clients with different quadratics, by gradient descent with a codec."""
    rng = np.random.default_rng(3)
    scales, targets = rng.uniform(0.2, 1.0, (2, 8)), rng.normal(size=(2, 8))
    optimum = (scales * targets).sum(0) / scales.sum(0)
    x = np.zeros(8)
    memories, mirrors = [codec.memory(LAYOUT)] * 2, [codec.mirror(LAYOUT)] * 2
    for step in range(steps):
        received = []
        for client in range(2):
            update = (-rate * scales[client] * (x - targets[client])).astype(np.float32)
            body, memories[client] = codec.send(update, memories[client], at(step, client))
            found, mirrors[client] = codec.receive(body, mirrors[client], at(step, client))
            received.append(found)
        x = x + np.mean(received, axis=0)
    return float(np.linalg.norm(x - optimum))


def test_feedback_converges_on_a_quadratic_where_the_codec_alone_does_not():
    feedback = qf.layers.ErrorFeedback(Largest())
    alone = quadratic(Largest())
    assert alone > 0.1
    assert quadratic(qf.layers.EF21(Largest())) < 1e-4
    near = quadratic(feedback)  # with a constant rate as near as the rate allows
    assert near < 0.2 * alone
    assert quadratic(feedback, 6000, 0.02) < 0.6 * near


def test_an_unbiased_codec_is_scaled():
    x = np.arange(1, 9, dtype=np.float32)
    codec = qf.layers.ErrorFeedback(Loud())
    body = codec.encode(x, at())
    assert set((codec.decode(body, at()) / x).tolist()) == {0.0, 1.0}
    assert codec.distortion(LAYOUT) == Contractive(0.5)


@pytest.mark.parametrize("outer", [qf.layers.ErrorFeedback, qf.layers.EF21])
def test_feedback_within_feedback_is_refused(outer):
    with pytest.raises(ConfigError, match="one error feedback"):
        outer(qf.layers.EF21(Largest()))
