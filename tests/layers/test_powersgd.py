"""PowerSGD: numpy's singular values, the paper's loop in plain code, and matrices that are zero, huge or turn away."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import PayloadError
from qfedfm.core.parts import At

LARGEST = np.finfo(np.float32).max
MIXED = qf.Layout.of(
    {"a": (12, 9), "bias": (4,), "b": (9, 12), "c": (12, 9), "scale": (), "d": (3, 2), "conv": (6, 2, 5)}
)


def at(layout, round_=1):
    return At(0, round_, 0, qf.Key.of(0).fold(round_), layout, 1)


def messages(codec, updates, layout):
    """What arrives of each update of one client, and its memory after the last."""
    memory, mirror, arrived = codec.memory(layout), codec.mirror(layout), []
    for number, x in enumerate(updates):
        body, memory = codec.send(x, memory, at(layout, number))
        found, mirror = codec.receive(body, mirror, at(layout, number))
        arrived.append(found)
    return np.array(arrived, np.float64), memory


def matrix(m, n, values, seed=0):
    """With these singular values."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=(side, len(values)))).Q for side in (m, n))
    return ((u * values) @ v.T).astype(np.float32)


def gram_schmidt(M):
    """Algorithm 1 of the paper orthogonalises by this loop."""
    P = M.astype(np.float64).copy()
    for i in range(P.shape[1]):
        for j in range(i):
            P[:, i] -= (P[:, j] @ P[:, i]) * P[:, j]
        P[:, i] /= np.sqrt(P[:, i] @ P[:, i])
    return P


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("shape", [(12, 9), (8, 40)])
def test_a_message_is_a_step_of_the_papers_loop(shape, rank):
    layout, rng = qf.Layout.of({"w": shape}), np.random.default_rng(rank)
    codec = qf.layers.PowerSGD(rank)
    _, memory = messages(codec, [rng.normal(size=layout.size).astype(np.float32)], layout)
    for number in range(3):
        M = rng.normal(size=shape).astype(np.float32)
        P = gram_schmidt(M @ memory["q"].reshape(shape[1], rank).astype(np.float64))
        body, memory = codec.send(M.reshape(-1), memory, at(layout, number))
        np.testing.assert_allclose(codec.decode(body, at(layout)).reshape(shape), P @ (M.T @ P).T, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_messages_of_the_same_matrices_approach_the_best_of_their_rank(rank):
    """The rest of numpy's singular values, of two matrices of one shape and one of another."""
    layout = qf.Layout.of({"a": (20, 12), "b": (12, 20), "c": (20, 12)})
    values = 2.0 ** -np.arange(12)
    parts = [matrix(20, 12, values, 1), matrix(12, 20, 3 * values, 2), matrix(20, 12, 1.5 ** np.arange(12), 3)]
    x = np.concatenate([part.reshape(-1) for part in parts])
    arrived, _ = messages(qf.layers.PowerSGD(rank), [x] * 40, layout)
    found = layout.unpack(arrived[-1].astype(np.float32))
    for part, name in zip(parts, "abc", strict=True):
        best = np.sqrt((np.linalg.svd(part.astype(np.float64), compute_uv=False)[rank:] ** 2).sum())
        first = np.linalg.norm(layout.unpack(arrived[0].astype(np.float32))[name] - part)
        assert np.linalg.norm(found[name] - part) == pytest.approx(best, rel=1e-3)
        assert first > 1.01 * best


def test_the_first_message_of_an_orthogonal_matrix_has_the_error_of_the_bound():
    """All its singular values are equal, so that every subspace of rank r holds r/n of it."""
    n, rank = 10, 3
    x = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n))).Q.astype(np.float32).reshape(-1)
    arrived, _ = messages(qf.layers.PowerSGD(rank), [x], qf.Layout.of({"w": (n, n)}))
    assert ((arrived[0] - x) ** 2).sum() / (x @ x) == pytest.approx(1 - rank / n, rel=1e-5)


@pytest.mark.parametrize("true_rank", [1, 2, 3])
def test_a_matrix_of_that_rank_or_less_arrives_at_once(true_rank):
    x = matrix(30, 20, np.array([5, 1, 0.2])[:true_rank])
    arrived, _ = messages(qf.layers.PowerSGD(3), [x.reshape(-1)] * 3, qf.Layout.of({"w": (30, 20)}))
    np.testing.assert_allclose(arrived, np.tile(x.reshape(-1), (3, 1)), atol=1e-5)


def test_what_is_no_large_matrix_arrives_as_it_is():
    """Vectors, scalars, and of rank 2 the 3 × 2 matrix; a tensor of three axes is a matrix of 6 × 10."""
    x = np.random.default_rng(0).normal(size=MIXED.size).astype(np.float32)
    codec = qf.layers.PowerSGD(2)
    found, sent = (MIXED.unpack(v) for v in (codec.decode(codec.encode(x, at(MIXED)), at(MIXED)), x))
    for name in ("bias", "scale", "d"):
        np.testing.assert_array_equal(found[name], sent[name])
    for name, shape in (("a", (12, 9)), ("b", (9, 12)), ("c", (12, 9)), ("conv", (6, 10))):
        assert np.linalg.matrix_rank(found[name].reshape(shape), tol=1e-4) == 2
    assert len(codec.encode(x, at(MIXED))) == codec.largest(MIXED) == 4 * (4 + 1 + 6 + 2 * (3 * 21 + 16))


def test_half_the_bytes_with_bfloat16():
    x = np.random.default_rng(0).normal(size=MIXED.size).astype(np.float32)
    whole, half = qf.layers.PowerSGD(2), qf.layers.PowerSGD(2, "bfloat16")
    assert 2 * half.largest(MIXED) == whole.largest(MIXED) == 2 * len(half.encode(x, at(MIXED)))
    one, other = (codec.decode(codec.encode(x, at(MIXED)), at(MIXED)) for codec in (whole, half))
    assert 0 < np.linalg.norm(one - other) < 0.02 * np.linalg.norm(x)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_message_is_further_off_than_zero(precision):
    """Matrices of which what the memory looks at is one faint direction: M Q₋₁ = 1e-3 u, and uᵀ M = 1e-3 Q₋₁ᵀ."""
    layout, rng = qf.Layout.of({"w": (6, 8)}), np.random.default_rng(1)
    codec = qf.layers.PowerSGD(1, precision)
    _, memory = messages(codec, [rng.normal(size=48).astype(np.float32)], layout)
    for number in range(30):
        u, q = rng.normal(size=6), memory["q"].astype(np.float64)
        u, q = u / np.linalg.norm(u), q / np.linalg.norm(q)
        M = (np.eye(6) - np.outer(u, u)) @ rng.normal(size=(6, 8)) @ (np.eye(8) - np.outer(q, q))
        x = (M + 1e-3 * np.outer(u, q)).astype(np.float32).reshape(-1)
        body, memory = codec.send(x, memory, at(layout, number))
        arrived = codec.decode(body, at(layout, number)).astype(np.float64)
        share = ((arrived - x) ** 2).sum() / (x.astype(np.float64) @ x)
        assert 0.999 < share <= 1 + 1e-9  # the lower bound is why no more than δ = 0 is declared


def test_a_matrix_that_was_zero_is_seen_again():
    x = matrix(12, 9, np.array([3.0, 1.0])).reshape(-1)
    zero, layout = np.zeros_like(x), qf.Layout.of({"w": (12, 9)})
    arrived, _ = messages(qf.layers.PowerSGD(2), [x, zero, zero, x], layout)
    assert not arrived[1].any()
    np.testing.assert_allclose(arrived[3], x, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 1e-40, 0.0])
def test_constant_matrices_at_the_ends_of_float32_arrive(value, precision):
    x = np.full(MIXED.size, value, np.float32)
    arrived, memory = messages(qf.layers.PowerSGD(2, precision), [x, x, -x], MIXED)
    assert np.isfinite(arrived).all()
    assert np.isfinite(memory["q"]).all()
    np.testing.assert_allclose(arrived[2], -x.astype(np.float64), rtol=0.02 if abs(value) > 1e-30 else 0.2)


def test_one_huge_number_among_small_ones_stays_finite():
    x = np.random.default_rng(0).normal(size=MIXED.size).astype(np.float32)
    x[5], x[130] = LARGEST, -LARGEST
    arrived, _ = messages(qf.layers.PowerSGD(1), [x, x], MIXED)
    assert np.isfinite(arrived).all()


def test_a_body_of_another_length_or_not_finite_is_refused():
    codec = qf.layers.PowerSGD(2)
    body = codec.encode(np.ones(MIXED.size, np.float32), at(MIXED))
    for wrong in (b"", body[:-4], body + b"\0" * 4, body[:-4] + np.array([np.inf], "<f4").tobytes()):
        with pytest.raises(PayloadError):
            codec.decode(wrong, at(MIXED))
    huge = np.full(len(body) // 4, LARGEST, "<f4").tobytes()
    assert np.isfinite(codec.decode(huge, at(MIXED))).all()


@pytest.mark.parametrize("outer", [qf.layers.ErrorFeedback, qf.layers.EF21])
def test_with_feedback_a_matrix_of_rank_three_arrives_by_rank_three_at_once_and_by_rank_one_in_the_sum(outer):
    layout = qf.Layout.of({"w": (16, 10), "bias": (3,)})
    x = np.concatenate([matrix(16, 10, np.array([3.0, 2.0, 1.0])).reshape(-1), np.ones(3, np.float32)])
    arrived, memory = messages(outer(qf.layers.PowerSGD(3)), [x] * 4, layout)
    np.testing.assert_allclose(arrived[-1], x, atol=1e-4)
    thin, memory = messages(outer(qf.layers.PowerSGD(1)), [x] * 60, layout)
    if outer is qf.layers.EF21:
        np.testing.assert_allclose(thin[-1], x, atol=1e-4)
    else:
        np.testing.assert_allclose(thin.sum(axis=0) + memory["error"], 60 * x.astype(np.float64), atol=2e-2)
        assert np.linalg.norm(thin.mean(axis=0) - x) < 0.1 * np.linalg.norm(x)


def test_feedback_converges_on_a_quadratic_where_the_codec_alone_does_not():
    """Two clients pull one matrix to different targets, each with its own curvature."""
    layout, rng = qf.Layout.of({"w": (8, 6)}), np.random.default_rng(3)
    scales, targets = rng.uniform(0.2, 1.0, (2, 48)), rng.normal(size=(2, 48))
    optimum = (scales * targets).sum(0) / scales.sum(0)

    def distance(codec, steps=100, rate=0.1):
        x, memories = np.zeros(48), [codec.memory(layout)] * 2
        mirrors = [codec.mirror(layout)] * 2
        for step in range(steps):
            received = []
            for client in range(2):
                update = (-rate * scales[client] * (x - targets[client])).astype(np.float32)
                body, memories[client] = codec.send(update, memories[client], at(layout, step))
                found, mirrors[client] = codec.receive(body, mirrors[client], at(layout, step))
                received.append(found)
            x = x + np.mean(received, axis=0)
        return float(np.linalg.norm(x - optimum))

    alone = distance(qf.layers.PowerSGD(1))
    assert alone > 0.3
    feedback = qf.layers.ErrorFeedback(qf.layers.PowerSGD(1))
    near = distance(feedback)  # with a constant rate as near as the rate allows
    assert near < 0.25 * alone
    assert distance(feedback, 200, 0.05) < 0.6 * near
    assert distance(qf.layers.EF21(qf.layers.PowerSGD(1))) < 0.05 * alone
