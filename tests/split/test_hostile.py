"""What hostile mediators, servers and settings can send: refused, or finite."""

import numpy as np
import pytest

from qfedfm.clients.jobs import LocalOptimizer
from qfedfm.core import wire
from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.split import HFL, Federation, advance, begin
from qfedfm.split.client import Client
from qfedfm.split.lowrank import Factors
from qfedfm.split.mediator import Mediator
from qfedfm.split.messages import Features, write_numbers
from qfedfm.split.post import Post
from qfedfm.split.server import Server
from tests.split.tiny import HIDDEN, TinySplit

CONFIG = HFL(cut=0, steps=2, batch_size=5, clients_per_mediator=2, ratio=0.3)


@pytest.fixture
def federation():
    return Federation.of(CONFIG, TinySplit(), 1)


@pytest.fixture
def server(federation):
    return Server(federation, Post(0, 1), 1, *federation.first, {})


def judged(federation, server, matrix):
    features = Features(np.arange(10) % 3, matrix)
    body = federation.format(2).write(0, features)
    payload = Post(0, 1).seal(federation.letter("core", wire.UP, "features"), 4, body, 10)
    return server.judge(4, 2, payload, 0)


def test_factors_whose_product_overflows(federation, server):
    huge = Factors(np.full((10, 2), 1e30, np.float32), np.full((2, HIDDEN), 1e30, np.float32))
    with pytest.raises(PayloadError, match="product is not finite"):
        judged(federation, server, huge)


def test_features_whose_loss_overflows(federation, server):
    with pytest.raises(PayloadError, match="loss or a gradient"):
        judged(federation, server, np.full((10, HIDDEN), 3e38, np.float32))


@pytest.mark.parametrize("scale", [0, 1e-40, 1, 1e10])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_factors_that_are_none_of_a_decomposition(federation, server, scale, rank):
    rng = Key.of(2).fold("hostile").numpy()
    draw = lambda *shape: (scale * rng.normal(size=shape)).astype(np.float32)  # noqa: E731
    matrix = Factors(draw(10, rank), draw(rank, HIDDEN)) if rank else draw(10, HIDDEN)
    found = judged(federation, server, matrix)
    reply = found.reply if rank == 0 else found.reply.left
    assert np.isfinite(reply).all()
    assert np.isfinite(found.deep).all()


def test_a_gradient_that_nobody_asked_for(federation):
    post = Post(0, 1)
    body = write_numbers(0, federation.first[0])
    letter = federation.letter("core", wire.DOWN, "models")
    broadcast = post.seal(letter, wire.EVERYONE, body)
    mediator = Mediator(federation, post, 0, [Client(federation, post, 2, 1)], 1, broadcast)
    gradient = post.seal(
        federation.letter("core", wire.DOWN, "gradients"), 0, write_numbers(0, np.zeros(40, np.float32))
    )
    with pytest.raises(PayloadError, match="not sent"):
        mediator.correct(gradient, 0)
    other = post.seal(federation.letter("core", wire.DOWN, "gradients"), 0, write_numbers(0, federation.first[0]))
    with pytest.raises(PayloadError, match="layout"):
        Mediator(federation, post, 0, [], 1, other)


def test_a_step_beyond_float32_is_not_taken():
    deep = LocalOptimizer("sgd", weight_decay=1e3)
    config = CONFIG.model_copy(update={"steps": 1, "deep": deep, "deep_rate": 1e38})
    federation = Federation.of(config, TinySplit(), 1)
    state = begin(federation)
    after = advance(federation, state)
    assert after.history[-1]["diagnostics"]["not_finite"] == 1
    assert (after.round, after.deep.tolist()) == (1, state.deep.tolist())
