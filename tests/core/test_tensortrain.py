"""Tensor trains against numpy's SVD, tensorly, closed forms and dense arithmetic."""

import numpy as np
import pytest
import tensorly
from tensorly.decomposition import tensor_train

from qfedfm.core.errors import DataError
from qfedfm.core.tensortrain import TensorTrain, add, average, decompose, inner, of_ranks, rounded

SHAPES = [(7,), (5, 8), (1, 4), (2, 1, 3), (4, 5, 6), (3, 2, 4, 2, 3)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def tensor(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random, with singular values that fall off in every unfolding."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    for axis, n in enumerate(shape):
        x = x * (2.0 ** -np.arange(n)).reshape([-1 if k == axis else 1 for k in range(len(shape))])
        mixer = np.linalg.qr(rng.normal(size=(n, n)))[0]
        x = np.moveaxis(np.tensordot(mixer, x, axes=(1, axis)), 0, axis)
    return x


def off(x: np.ndarray, train: TensorTrain) -> float:
    return float(np.linalg.norm(x - train.dense()) / np.linalg.norm(x))


def tails(x: np.ndarray, ranks: tuple[int, ...]) -> list[float]:
    """The squares that the best approximations of the unfoldings lose."""
    lefts = np.cumprod(x.shape)[:-1]
    return [
        float((np.linalg.svd(x.reshape(left, -1), compute_uv=False)[rank:] ** 2).sum())
        for left, rank in zip(lefts, ranks, strict=True)
    ]


@each_shape
@pytest.mark.parametrize("error", [0.0, 0.01, 0.2, 0.7])
def test_the_error_is_within_what_was_asked_for(shape, error):
    x = tensor(shape)
    train = decompose(x, error)
    assert train.shape == shape
    assert off(x, train) <= error + 1e-12
    assert train.norm == pytest.approx(np.linalg.norm(train.dense()), rel=1e-12)
    if error >= 0.2 and len(shape) > 2 and min(shape) > 1:
        assert train.size < decompose(x, 0.0).size


@each_shape
def test_given_ranks_lose_no_more_than_the_bound_and_project(shape):
    x = tensor(shape, 1)
    train = of_ranks(x, [2] * (len(shape) - 1))
    lost = np.linalg.norm(x - train.dense()) ** 2
    square = np.linalg.norm(x) ** 2
    bounds = tails(x, train.ranks)
    assert lost <= sum(bounds) + 1e-12 * square
    assert lost >= max(bounds, default=0) - 1e-12 * square
    assert lost == pytest.approx(square - train.norm**2, abs=1e-12 * square)
    for core in train.cores[:-1]:
        flat = core.reshape(-1, core.shape[2])
        np.testing.assert_allclose(flat.T @ flat, np.eye(core.shape[2]), atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_as_tensorly_at_equal_ranks(rank):
    x = tensor((4, 5, 3, 6), 2)
    ours = of_ranks(x, [rank] * 3)
    theirs = tensorly.tt_to_tensor(tensor_train(x, [1, rank, rank, rank, 1]))
    np.testing.assert_allclose(ours.dense(), theirs, atol=1e-9 * np.linalg.norm(x))


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_two_axes_are_numpys_truncated_svd(shape):
    x = tensor(shape, 3)
    u, s, v = np.linalg.svd(x, full_matrices=False)
    for rank in (1, 3):
        best = (u[:, :rank] * s[:rank]) @ v[:rank]
        np.testing.assert_allclose(of_ranks(x, [rank]).dense(), best, atol=1e-10)
    error = float(np.linalg.norm(s[3:]) / np.linalg.norm(s))
    assert decompose(x, error * (1 + 1e-9)).ranks == (3,)
    assert decompose(x, error * (1 - 1e-9)).ranks == (4,)


def test_ranks_of_closed_forms():
    a, b, c, d = (np.random.default_rng(4).normal(size=n) for n in (3, 4, 5, 2))
    product = np.einsum("i,j,k,l->ijkl", a, b, c, d)
    assert decompose(product, 0.0).ranks == (1, 1, 1)
    assert decompose(product + np.einsum("i,j,k,l->ijkl", a + 1, b[::-1], c**2, d - 1), 0.0).ranks == (2, 2, 2)
    i, j, k = np.indices((4, 5, 6))
    assert decompose(1.0 * i + j + k, 0.0).ranks == (2, 2), "a sum of coordinates"
    assert decompose(np.exp(0.1 * i - 0.2 * j + k), 0.0).ranks == (1, 1), "an exponential of them"
    assert decompose(np.sin(i + 2.0 * j + 3 * k), 0.0).ranks == (2, 2), "a sine of them"
    assert decompose(np.zeros((3, 4, 5)), 0.1).ranks == (0, 0)
    assert decompose(np.full((3, 4, 5), -2.5), 0.0).ranks == (1, 1)


def test_sums_inner_products_and_scaling_are_those_of_the_dense_tensors():
    tensors = [tensor((3, 4, 5), seed) for seed in range(3)]
    trains = [decompose(x, 0.0) for x in tensors]
    weights = [0.5, -2.0, 1.5]
    total = add(trains, weights)
    assert total.ranks == tuple(3 * rank for rank in trains[0].ranks)
    expected = sum(weight * x for weight, x in zip(weights, tensors, strict=True))
    np.testing.assert_allclose(total.dense(), expected, atol=1e-12)
    assert total.norm == pytest.approx(np.linalg.norm(expected))
    assert inner(trains[0], trains[1]) == pytest.approx(float((tensors[0] * tensors[1]).sum()))
    assert inner(total, total) == pytest.approx(total.norm**2)
    np.testing.assert_allclose(trains[0].scaled(-3.0).dense(), -3 * tensors[0], atol=1e-12)
    vectors = add([decompose(np.arange(3.0), 0.0), decompose(np.ones(3), 0.0)], [1.0, 2.0])
    np.testing.assert_array_equal(vectors.dense(), [2, 3, 4])


@each_shape
def test_rounding_a_sum_with_itself_gives_back_the_ranks(shape):
    train = decompose(tensor(shape, 5), 0.1)
    twice = rounded(add([train, train], [1.0, 1.0]), 1e-10)
    assert twice.ranks == train.ranks
    np.testing.assert_allclose(twice.dense(), 2 * train.dense(), atol=1e-9)


@pytest.mark.parametrize("error", [0.0, 0.05, 0.4])
def test_rounding_keeps_its_error(error):
    train = decompose(tensor((4, 5, 6, 3), 6), 0.0)
    found = rounded(train, error)
    assert off(train.dense(), found) <= error + 1e-12
    assert (found.size < train.size) == (error > 0)


@pytest.mark.parametrize("error", [1e-12, 0.02, 0.3])
def test_an_average_is_the_dense_weighted_mean_within_the_error(error):
    rng = np.random.default_rng(7)
    common = tensor((4, 6, 8), 7)
    tensors = [common + 0.1 * tensor((4, 6, 8), 10 + client) for client in range(6)]
    weights = rng.integers(1, 40, 6).astype(float).tolist()
    trains = [decompose(x, 0.0) for x in tensors]
    mean = np.average(tensors, axis=0, weights=weights)
    found = average(trains, weights, error)
    assert off(mean, found) <= error + 1e-12
    assert all(rank <= most for rank, most in zip(found.ranks, (4, 8), strict=True))
    if error >= 0.3:
        assert found.size < min(train.size for train in trains)


def test_zero_trains_take_part():
    zero, one = decompose(np.zeros((3, 4, 2)), 0.0), decompose(tensor((3, 4, 2)), 0.0)
    assert zero.size == zero.norm == inner(zero, one) == 0
    assert not zero.dense().any()
    np.testing.assert_allclose(average([zero, one], [1.0, 3.0], 0.0).dense(), 0.75 * one.dense(), atol=1e-12)
    assert average([zero, zero], [1.0, 1.0], 0.1).size == 0
    assert of_ranks(np.ones((3, 4, 2)), [0, 0]).size == 0


@pytest.mark.parametrize("scale", [1e-40, 1e38])
def test_the_ends_of_float32(scale):
    x = tensor((4, 3, 5)) * scale
    assert off(x, decompose(x, 0.1)) <= 0.1
    assert off(x, of_ranks(x, [4, 5])) < 1e-12


def test_refusals():
    train = decompose(np.ones((2, 3)), 0.0)
    with pytest.raises(DataError, match="without axes"):
        decompose(np.array(1.0), 0.0)
    with pytest.raises(DataError, match="1 ranks for 3 axes"):
        of_ranks(np.ones((2, 2, 2)), [1])
    with pytest.raises(DataError, match="equal shapes"):
        inner(train, decompose(np.ones((3, 2)), 0.0))
    for trains, weights in (([], []), ([train], [1.0, 2.0]), ([train, decompose(np.ones((3, 2)), 0.0)], [1.0, 1.0])):
        with pytest.raises(DataError, match="equal shapes and counts"):
            add(trains, weights)
    with pytest.raises(DataError, match="positive sum"):
        average([train, train], [1.0, -1.0], 0.1)
    for cores in ((), (np.ones((1, 2, 3)), np.ones((2, 2, 1))), (np.ones((1, 2, 3)),), (np.ones((2, 2, 1)),)):
        with pytest.raises(DataError, match="neighbours"):
            TensorTrain(cores)
