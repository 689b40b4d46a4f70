"""Foldings of matrices, and the choice of ranks, against brute force."""

import itertools
import math

import numpy as np
import pytest

from qfedfm.core.errors import DataError
from qfedfm.core.folding import Folding, factors, largest_ranks
from qfedfm.core.ranks import Spectra
from qfedfm.core.tensortrain import decompose, of_ranks


@pytest.mark.parametrize("n", [1, 2, 7, 8, 30, 97, 384, 1536, 30522])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_factors_multiply_to_the_number(n, count):
    found = factors(n, count)
    assert len(found) == count
    assert math.prod(found) == n
    assert list(found) == sorted(found)


@pytest.mark.parametrize("n", [16, 64, 81, 384])
def test_factors_are_near_to_each_other(n):
    best = min(max(a, n // a) for a in range(1, n + 1) if n % a == 0)
    assert max(factors(n, 2)) == best


@pytest.mark.parametrize("order", ["plain", "paired"])
@pytest.mark.parametrize("shape", [(8, 384), (1, 1), (3, 5), (6, 4), (4, 3, 2, 2)])
def test_unfold_undoes_fold(shape, order):
    x = np.random.default_rng(0).normal(size=shape)
    folding = Folding.of(shape, 2, order)
    tensor = folding.fold(x)
    assert tensor.shape == folding.shape
    np.testing.assert_array_equal(folding.unfold(tensor), x.ravel())


def test_a_paired_axis_is_an_index_of_rows_and_one_of_columns():
    """A Kronecker product has rank 1, a sum of two has 2, and each core is a factor."""
    rng = np.random.default_rng(1)
    folding = Folding.of((6, 8), 2, "paired")
    assert folding == Folding((2, 3), (4, 2), "paired")
    a, b = rng.normal(size=(2, 4)), rng.normal(size=(3, 2))
    train = decompose(folding.fold(np.kron(a, b)), 0.0)
    assert train.ranks == (1,)
    cosine = train.cores[0].ravel() @ a.ravel() / np.linalg.norm(a) / np.linalg.norm(train.cores[0])
    assert abs(cosine) == pytest.approx(1)
    other = np.kron(rng.normal(size=(2, 4)), rng.normal(size=(3, 2)))
    assert decompose(folding.fold(np.kron(a, b) + other), 0.0).ranks == (2,)


def test_a_plain_train_of_a_low_rank_matrix_has_its_rank_in_the_middle():
    rng = np.random.default_rng(2)
    folding = Folding.of((16, 36), 2, "plain")
    assert folding.shape == (4, 4, 6, 6)
    x = rng.normal(size=(16, 3)) @ rng.normal(size=(3, 36))
    assert decompose(folding.fold(x), 0.0).ranks == (4, 3, 6)


def test_what_has_no_two_axes_is_refused():
    with pytest.raises(DataError, match="at least two axes"):
        Folding.of((5,), 2, "plain")


def costs(tensors):
    """The cost of ranks, and of the tensors themselves, in numbers."""
    axes = np.array([tensor.shape for tensor in tensors])

    def cost(ranks):
        ends = np.pad(ranks, ((0, 0), (1, 1)), constant_values=1)
        return (ends[:, :-1] * axes * ends[:, 1:]).sum(axis=1) * ranks.any(axis=1) * 1.0

    return cost, axes.prod(axis=1) * 1.0


def lost(tensors, chosen):
    """The squared error of what was chosen."""
    total = 0.0
    for tensor, ranks, dense in zip(tensors, chosen.ranks, chosen.dense, strict=True):
        train = of_ranks(tensor, ranks.tolist())
        total += 0.0 if dense else float(((tensor - train.dense()) ** 2).sum())
    return total


def spent(cost, dense, chosen):
    return float(np.where(chosen.dense, dense, cost(chosen.ranks)).sum())


def decaying(shape, rng):
    """A matrix whose singular values fall off as 1/i."""
    m, n = shape
    u, v = np.linalg.qr(rng.normal(size=(m, m)))[0], np.linalg.qr(rng.normal(size=(n, n)))[0]
    k = min(shape)
    return (u[:, :k] / np.arange(1, k + 1)) @ v[:k] * rng.uniform(0.5, 2)


def test_singular_values_are_numpys():
    rng = np.random.default_rng(3)
    tensors = [rng.normal(size=shape) for shape in ((3, 4, 5), (2, 6, 3), (3, 4, 5))]
    spectra = Spectra.of(tensors)
    for t, k in itertools.product(range(3), range(2)):
        flat = tensors[t].reshape(math.prod(tensors[t].shape[: k + 1]), -1)
        found = spectra.values[spectra.bond == 2 * t + k]
        np.testing.assert_allclose(found, np.linalg.svd(flat, compute_uv=False), rtol=1e-9)


def test_no_ranks_of_matrices_are_better_for_as_many_numbers():
    """Against all combinations, of matrices that are never cheaper dense."""
    rng = np.random.default_rng(4)
    tensors = [decaying(shape, rng) for shape in ((8, 24), (10, 10), (6, 30))]
    cost, dense = costs(tensors)
    spectra = Spectra.of(tensors)
    values = [np.linalg.svd(x, compute_uv=False) ** 2 for x in tensors]
    for budget in (40.0, 75.0, 120.0, 160.0, 200.0):
        chosen = spectra.within(budget, cost, dense)
        used = spent(cost, dense, chosen)
        assert used <= budget
        best = min(
            sum(float(v[rank:].sum()) for v, rank in zip(values, ranks, strict=True))
            for ranks in itertools.product(range(6), repeat=3)
            if float(cost(np.array(ranks)[:, None]).sum()) <= used
        )
        assert lost(tensors, chosen) <= best * (1 + 1e-9)


@pytest.mark.parametrize("shape", [(8, 24), (4, 5, 6), (3, 3, 3, 4), (9, 2, 2), (2, 2, 9), (16, 2, 2, 16)])
def test_an_error_is_kept_and_a_budget_is_not_passed(shape):
    rng = np.random.default_rng(5)
    tensors = [rng.normal(size=shape) * scale for scale in (1.0, 0.01, 3.0)]
    cost, dense = costs(tensors)
    spectra, square = Spectra.of(tensors), sum(float((x**2).sum()) for x in tensors)
    before = np.inf
    for error in (0.05, 0.3, 0.6, 0.9, 1 + 1e-9):
        chosen = spectra.cheapest(error**2 * square, cost, dense)
        assert lost(tensors, chosen) <= error**2 * square
        used = spent(cost, dense, chosen)
        assert used <= before
        before = used
        again = spectra.within(used, cost, dense)
        assert spent(cost, dense, again) <= used
        assert lost(tensors, again) <= error**2 * square
    assert before == 0
    assert not spectra.within(-1.0, cost, dense).ranks.any()
    assert spectra.within(np.inf, cost, dense).dense.all()


def test_ranks_are_such_as_a_train_has():
    rng = np.random.default_rng(6)
    tensors = [rng.normal(size=(2, 4, 4, 2)), rng.normal(size=(3, 2, 5, 2)), np.zeros((2, 2, 2, 2))]
    cost, dense = costs(tensors)
    spectra = Spectra.of(tensors)
    for budget in np.arange(0.0, dense.sum(), 5).tolist():
        chosen = spectra.within(budget, cost, dense)
        for tensor, ranks in zip(tensors, chosen.ranks, strict=True):
            assert of_ranks(tensor, ranks.tolist()).ranks == tuple(ranks)
            assert (ranks <= largest_ranks(tensor.shape)).all()
        assert not chosen.ranks[2].any()
