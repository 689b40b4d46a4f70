"""DRIVE: the closed forms of its error, what its scales are defined by, and vectors that one Hadamard pass fails on."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.core.parts import At
from qfedfm.core.registry import build
from qfedfm.layers._rotated import RotatedBlocks, block_sizes, uniform
from tests.layers.draws import errors, outputs

LARGEST = np.finfo(np.float32).max


@pytest.mark.parametrize(("scale", "expected"), [("unbiased", np.pi / 2 - 1), ("biased", 1 - 2 / np.pi)])
def test_the_error_of_a_long_vector_is_the_papers(scale, expected):
    x = np.random.default_rng(0).lognormal(size=2**17).astype(np.float32)
    found = outputs(qf.layers.Drive(scale), x, 2)
    assert errors(found, x)[0] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("d", [2, 3, 100, 150, 1000, 20_001])
def test_the_scales_are_those_of_their_definitions(d):
    """Unbiased: ⟨x̂, x⟩ = ‖x‖²; biased: x̂ is the projection of x on its own direction, so that ⟨x̂, x⟩ = ‖x̂‖²."""
    x = np.random.default_rng(d).normal(size=d).astype(np.float32) * np.float32(7)
    blocks = np.cumsum(block_sizes(d))[:-1]
    for unbiased, biased, part in zip(
        np.split(outputs(qf.layers.Drive(), x, 1)[0], blocks),
        np.split(outputs(qf.layers.Drive("biased"), x, 1)[0], blocks),
        np.split(x.astype(np.float64), blocks),
        strict=True,
    ):
        assert unbiased @ part == pytest.approx(part @ part, rel=1e-5)
        assert biased @ part == pytest.approx(biased @ biased, rel=1e-5)
        np.testing.assert_allclose(unbiased / np.linalg.norm(unbiased), biased / np.linalg.norm(biased), atol=1e-5)


def test_two_coordinates_have_the_error_of_the_integral_over_all_angles():
    """‖x̂‖² = 2/(|cos θ| + |sin θ|)², whose mean over the angles is 4/π."""
    x = np.array([3, -0.5], np.float32)
    total, bias = errors(outputs(qf.layers.Drive(), x, 500), x)
    assert total == pytest.approx(4 / np.pi - 1, abs=0.05)
    assert abs(bias) < 3e-3


def test_one_coordinate_arrives_as_it_is():
    for scale in ("unbiased", "biased"):
        np.testing.assert_allclose(outputs(qf.layers.Drive(scale), np.float32([-2.5]), 3), -2.5, rtol=1e-6)


@pytest.mark.parametrize("d", [10, 256])
@pytest.mark.parametrize("values", [[1, 0.99], [1, 0.5], [1] * 8])
def test_vectors_of_few_large_coordinates_are_unbiased(values, d):
    """Where one Hadamard pass has a squared bias of 0.98, 0.25 and 0.04 ‖x‖², and an error of up to 1.02 ‖x‖²."""
    x = np.zeros(d, np.float32)
    x[: len(values)] = values
    total, bias = errors(outputs(qf.layers.Drive(), x, 200), x)
    assert total <= (np.pi / 2 - 1) * 1.03
    assert abs(bias) < 5e-3


def test_a_small_rotation_is_uniform():
    """Orthogonal, and the moments of the Haar measure: E R = 0, E R² = 1/n, E R⁴ = 3/(n(n + 2)), both determinants."""
    n, rotations = 4, np.array([uniform(4, qf.Key.of(seed)) for seed in range(1000)], np.float64)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(n), (1000, 1, 1)), atol=1e-5)
    for power, expected in ((1, 0), (2, 1 / n), (4, 3 / (n * (n + 2)))):
        np.testing.assert_allclose((rotations**power).mean(axis=0), expected, atol=0.07)
    assert (np.linalg.det(rotations) > 0).mean() == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize("d", [1, 127, 128, 129, 300, 16_384, 16_384 * 2 + 130])
def test_blocks_cover_the_vector_and_their_rotation_is_undone(d):
    assert sum(block_sizes(d)) == d
    blocks, x = RotatedBlocks(d, qf.Key.of(1)), np.random.default_rng(d).normal(size=d).astype(np.float32)
    z, norms = blocks.forward(x)
    np.testing.assert_allclose(blocks.products(z, z), blocks.sizes, rtol=1e-5)
    np.testing.assert_allclose(blocks.backward(z, norms / np.sqrt(blocks.sizes)), x, atol=2e-5)


def test_a_bit_a_coordinate_and_four_bytes_a_block():
    layout = qf.Layout.of({"x": (2**14 + 256 + 9,)})
    at = At(0, 1, 0, qf.Key.of(0), layout, 1)
    body = qf.layers.Drive().encode(np.ones(layout.size, np.float32), at)
    assert len(body) == qf.layers.Drive().largest(layout) == 3 * 4 + 2048 + 32 + 2


@pytest.mark.parametrize("size", [LARGEST, 1e-42])
@pytest.mark.parametrize("scale", ["unbiased", "biased"])
def test_the_ends_of_float32_keep_their_magnitude(scale, size):
    x = np.full(1000, -size, np.float32)
    found = outputs(qf.layers.Drive(scale), x, 3)
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(-size, rel=0.5)


def test_zero_blocks_stay_zero_beside_others():
    x = np.zeros(300, np.float32)
    x[:256] = 1
    found = outputs(qf.layers.Drive(), x, 1)[0]
    assert not found[256:].any()
    assert found[:256].any()


def test_another_scale_is_refused():
    with pytest.raises(ConfigError, match="scale"):
        build("codec", {"name": "drive", "scale": "loud"})
