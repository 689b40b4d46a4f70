"""The truncated decomposition and its gradient against torch's own, finite differences and closed forms."""

import numpy as np
import pytest
import torch

from qfedfm.core.key import Key
from qfedfm.split.lowrank import Answer, Factors, Spectrum, answer, corrected


def matrix(n, m, name="x"):
    return Key.of(3).fold(name, n, m).numpy().normal(size=(n, m))


def through(x, g, rank, correction):
    """The gradient at x of the inner product of g and the truncated x."""
    spectrum = Spectrum.of(x)
    return corrected(spectrum, answer(spectrum.truncated(rank), g.astype(np.float32), correction), correction)


SHAPES = [(6, 9, 2), (9, 6, 3), (5, 5, 1), (7, 4, 3), (1, 8, 1), (8, 1, 1)]


@pytest.mark.parametrize(("n", "m", "rank"), SHAPES)
def test_nothing_of_that_rank_is_nearer(n, m, rank):
    x = matrix(n, m)
    spectrum = Spectrum.of(x)
    factors = spectrum.truncated(rank)
    values = np.linalg.svd(x, compute_uv=False)
    lost = np.sqrt((values[rank:] ** 2).sum())
    assert np.linalg.norm(x - factors.product) == pytest.approx(lost, rel=1e-5, abs=1e-5)
    assert spectrum.lost(rank) == pytest.approx(lost / np.linalg.norm(x), abs=1e-12)
    np.testing.assert_allclose(factors.product, factors.left @ factors.left.T @ x, atol=1e-5)


@pytest.mark.parametrize(("n", "m", "rank"), SHAPES)
def test_the_exact_gradient_is_that_of_autograd(n, m, rank):
    x, g = matrix(n, m), matrix(n, m, "g")
    leaf = torch.from_numpy(x).requires_grad_()
    u, s, vt = torch.linalg.svd(leaf, full_matrices=False)
    (u[:, :rank] * s[:rank] @ vt[:rank] * torch.from_numpy(g)).sum().backward()
    np.testing.assert_allclose(through(x, g, rank, "exact"), leaf.grad.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n", "m", "rank"), SHAPES)
def test_the_exact_gradient_is_that_of_finite_differences(n, m, rank):
    x, g, step = matrix(n, m), matrix(n, m, "g"), 1e-6

    def value(y):
        u, s, vt = np.linalg.svd(y, full_matrices=False)
        return float(((u[:, :rank] * s[:rank]) @ vt[:rank] * g).sum())

    along = matrix(n, m, "along")
    slope = (value(x + step * along) - value(x - step * along)) / (2 * step)
    assert (through(x, g, rank, "exact") * along).sum() == pytest.approx(slope, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("n", "m", "rank"), SHAPES)
def test_the_projected_gradient_takes_u_as_a_constant(n, m, rank):
    x, g = matrix(n, m), matrix(n, m, "g")
    u = np.linalg.svd(x, full_matrices=False)[0][:, :rank]
    np.testing.assert_allclose(through(x, g, rank, "projected"), u @ u.T @ g, atol=1e-5)


@pytest.mark.parametrize(("n", "m", "rank"), SHAPES)
def test_the_tangent_is_what_a_curve_of_that_rank_sees(n, m, rank):
    """Along X(t) = U(t) W(t) of rank k nothing is discarded: the slope of the loss is ⟨tangent gradient, X′(0)⟩."""
    a, b, g = matrix(n, rank, "a"), matrix(rank, m, "b"), matrix(n, m, "g")
    x, along = a @ b, matrix(n, rank, "da") @ b + a @ matrix(rank, m, "db")
    for correction in ("tangent", "exact"):
        assert (through(x, g, rank, correction) * along).sum() == pytest.approx((g * along).sum(), rel=1e-4, abs=1e-4)
    if rank < min(n, m):
        assert (through(x, g, rank, "projected") * along).sum() != pytest.approx((g * along).sum(), rel=1e-2)


def test_the_tangent_is_a_projection():
    x, g = matrix(6, 9), matrix(6, 9, "g")
    once = through(x, g, 3, "tangent")
    np.testing.assert_allclose(through(x, once, 3, "tangent"), once, atol=1e-5)
    assert np.linalg.norm(once) < np.linalg.norm(g)


@pytest.mark.parametrize("correction", ["projected", "tangent", "exact"])
@pytest.mark.parametrize(
    "x",
    [np.zeros((4, 6)), np.ones((4, 6)), -np.eye(4, 6), np.full((4, 6), 1e-40), 1e30 * matrix(4, 6), np.ones((1, 1))],
    ids=["zeros", "constant", "equal singular values", "denormal", "huge", "one number"],
)
def test_the_gradient_is_finite_everywhere(x, correction):
    found = through(x, np.ones_like(x), 1, correction)
    assert found.shape == x.shape
    assert np.isfinite(found).all()


def test_directions_of_a_row_of_zeros():
    factors = Factors(np.eye(3, 2, dtype=np.float32), np.float32([[0, 3, 4], [0, 0, 0]]))
    np.testing.assert_allclose(factors.directions.T, [[0, 0.6, 0.8], [0, 0, 0]])


def test_what_travels_back():
    x, g = matrix(6, 9), matrix(6, 9, "g").astype(np.float32)
    factors = Spectrum.of(x).truncated(2)
    _, _, vt = np.linalg.svd(x)
    reply = answer(factors, g, "tangent")
    assert isinstance(reply, Answer)
    np.testing.assert_allclose(np.abs(reply.right), np.abs(g @ vt[:2].T), atol=1e-4)
    np.testing.assert_allclose(reply.left, factors.left.T @ g, atol=1e-5)
    assert answer(factors, g, "projected").right is None
