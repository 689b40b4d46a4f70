"""EDEN: the published centroids and errors, the closed forms of ω, and that nothing is biased."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import qfedfm as qf
from qfedfm.core.distortion import Unbiased
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At
from qfedfm.core.registry import build
from qfedfm.layers._lloyd_max import lloyd_max
from tests.layers.draws import errors, outputs


def eden(bits):
    return qf.layers.Eden(float(bits))


PUBLISHED = {1: 0.3634, 2: 0.1175, 3: 0.03454, 4: 0.009497, 5: 0.002499}
"""Max, 1960, table I: the mean squared error by bits."""


@pytest.mark.parametrize("bits", PUBLISHED)
def test_the_error_of_the_quantiser_is_the_published_one(bits):
    assert lloyd_max(bits).error == pytest.approx(PUBLISHED[bits], rel=3e-3)


def test_the_centroids_are_the_published_ones():
    np.testing.assert_allclose(lloyd_max(1).centroids, [-0.7979, 0.7979], atol=5e-5)
    np.testing.assert_allclose(lloyd_max(2).centroids[2:], [0.4528, 1.5104], atol=5e-5)
    np.testing.assert_allclose(lloyd_max(3).centroids[4:], [0.2451, 0.7560, 1.3439, 2.1519], atol=6e-5)


@pytest.mark.parametrize("bits", range(1, 9))
def test_each_centroid_is_the_mean_of_its_cell(bits):
    """By numerical integration over the cells, which Newton's method does not use."""
    quantiser = lloyd_max(bits)
    c = quantiser.centroids
    ends = np.concatenate([[-12], (c[1:] + c[:-1]) / 2, [12]])
    for number in {0, len(c) // 2, len(c) - 1, len(c) // 3}:
        low, high = ends[number], ends[number + 1]
        mass = quad(norm.pdf, low, high, epsabs=1e-14)[0]
        assert quad(lambda z: z * norm.pdf(z), low, high, epsabs=1e-14)[0] / mass == pytest.approx(c[number], abs=1e-7)
    assert (np.diff(c) > 0).all()
    np.testing.assert_allclose(c, -c[::-1])


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_nearest_centroid_is_found_as_by_search(bits):
    quantiser, rng = lloyd_max(bits), np.random.default_rng(bits)
    z = np.concatenate([rng.normal(size=5000) * 2, [0, 100, -100, 8, -8, 128]]).astype(np.float32)
    distances = np.abs(z[:, None].astype(np.float64) - quantiser.centroids)
    found = quantiser.nearest(z)
    np.testing.assert_allclose(distances[np.arange(len(z)), found], distances.min(axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(quantiser.values(found), quantiser.centroids[found].astype(np.float32))


MEASURED = {1: 0.570, 2: 0.133, 4: 0.0096}
"""The paper's errors on a Gaussian vector."""


@pytest.mark.parametrize("bits", MEASURED)
def test_the_error_of_a_gaussian_vector_is_the_measured_one(bits):
    x = np.random.default_rng(bits).normal(size=2**18).astype(np.float32)
    total, _ = errors(outputs(eden(bits), x, 1), x)
    assert total == pytest.approx(MEASURED[bits], rel=0.03)
    assert eden(bits).distortion(qf.Layout.of({"x": (2**18,)})).omega == pytest.approx(MEASURED[bits], rel=0.01)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(0.1, 5 * np.pi - 1), (0.5, np.pi - 1), (1.5, 0.24041 / 0.75959), (2.25, 0.09675 / 0.90325), (3, 0.03579)],
)
def test_a_part_of_a_bit_has_the_error_of_the_closed_form(bits, expected):
    """From the published errors: (d/k)(π/2) − 1 below one bit, e/(1 − e) with the mean e of two widths above."""
    x = np.random.default_rng(1).lognormal(size=2**16).astype(np.float32)
    codec, layout = eden(bits), qf.Layout.of({"x": (x.size,)})
    total, _ = errors(outputs(codec, x, 2), x)
    assert codec.distortion(layout).omega == pytest.approx(expected, rel=2e-3)
    assert total == pytest.approx(expected, rel=0.03)
    assert 8 * (codec.largest(layout) - 16) / x.size == pytest.approx(bits, abs=1e-3)


@pytest.mark.parametrize("bits", [0.4, 1, 1.5, 3, 8])
@pytest.mark.parametrize("d", [2, 3, 200])
def test_nothing_is_biased_and_the_error_is_within_what_is_declared(bits, d):
    """A vector of two nearly equal coordinates, which one Hadamard pass leaves with a squared bias of 0.98 ‖x‖²."""
    x = np.zeros(d, np.float32)
    x[:2] = 1, 0.99
    codec, keys = eden(bits), 150
    found = outputs(codec, x, keys)
    total, bias = errors(found, x)
    omega = codec.distortion(qf.Layout.of({"x": (d,)})).omega
    spread = ((found - x) ** 2).sum(axis=1).std() / (x @ x) / np.sqrt(keys)
    assert total <= omega + 4 * spread
    assert abs(bias) < 5 * omega / keys


@pytest.mark.parametrize("bits", [1, 1.5, 4])
@pytest.mark.parametrize("d", [1, 7, 300, 16_384 + 77])
def test_the_scale_keeps_the_product_with_the_vector(bits, d):
    """⟨x̂, x⟩ = ‖x‖², the property that makes S unbiased."""
    x = np.random.default_rng(d).normal(size=d).astype(np.float32)
    found = outputs(eden(bits), x, 1)[0]
    assert found @ x == pytest.approx(x.astype(np.float64) @ x, rel=1e-5)


def test_each_coordinate_has_the_same_chance_to_be_in_the_part():
    size, k, times = 10, 4, 400
    counts = np.zeros(size)
    for seed in range(times):
        ((chosen, width),) = qf.layers.Eden(0.4)._parts(size, qf.Key.of(seed))
        assert width == 1
        assert len(set(chosen.tolist())) == k
        counts[chosen] += 1
    assert np.abs(counts / times - k / size).max() < 5 * np.sqrt(0.24 / times)


@pytest.mark.parametrize(("bits", "length"), [(0.01, 4 + 1), (1, 4 + 3), (1.5, 4 + 2 + 2 * 2), (7.9, 4 + 7 + 8 * 3)])
def test_lengths_of_bodies(bits, length):
    layout = qf.Layout.of({"x": (20,)})
    at, codec = At(0, 1, 0, qf.Key.of(0), layout, 1), eden(bits)
    body = codec.encode(np.ones(20, np.float32), at)
    assert len(body) == codec.largest(layout) == length
    with pytest.raises(PayloadError):
        codec.decode(body[:-1], at)


@pytest.mark.parametrize("bits", [0.001, 1, 2.5, 8])
@pytest.mark.parametrize("size", [np.finfo(np.float32).max, 1e-41])
def test_the_ends_of_float32_stay_finite(bits, size):
    x = np.full(700, size, np.float32)
    assert np.isfinite(outputs(eden(bits), x, 2)).all()
    if bits > 1:
        assert outputs(eden(bits), x, 2).mean() == pytest.approx(size, rel=0.2)


def test_feedback_scales_an_unbiased_codec_by_its_omega():
    layout = qf.Layout.of({"x": (64,)})
    found = qf.layers.ErrorFeedback(eden(2)).distortion(layout)
    assert found.delta == pytest.approx(1 - PUBLISHED[2], abs=1e-4)
    assert isinstance(eden(2).distortion(layout), Unbiased)


@pytest.mark.parametrize("bits", [0, -1, 8.5, "many"])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(ConfigError, match="bits"):
        build("codec", {"name": "eden", "bits": bits})
