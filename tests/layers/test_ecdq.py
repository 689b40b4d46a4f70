"""The library's own codec: its budget is kept, its error is what theory says, and the cheaper way is taken."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.body import Reader
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.parts import At
from qfedfm.layers import _gaussian, _integers
from qfedfm.layers._allocation import Tensors, for_bits, left, steps
from qfedfm.layers._hadamard import Mixing
from qfedfm.layers._integers import Integers

D = 2**16
WIDE = qf.Layout.of({"w": (D,)})
LORA = qf.Layout.of(
    {
        f"layers.{i}.{m}.lora_{h}.weight": shape
        for i in range(6)
        for m in "qv"
        for h, shape in (("A", (4, 96)), ("B", (96, 4)))
    }
)


def at(layout: qf.Layout, number: int = 0) -> At:
    return At(0, 1, 0, qf.Key.of(number), layout, 10)


def gaussian(layout: qf.Layout, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=layout.size).astype(np.float32)


def heavy(layout: qf.Layout, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, size=layout.size).astype(np.float32)


def measured(codec: qf.layers.Ecdq, x: np.ndarray, layout: qf.Layout, draws: int = 6) -> tuple[float, float]:
    """Bits a coordinate, and the mean of ‖x̂ − x‖²/‖x‖²."""
    lengths, errors = [], []
    for number in range(draws):
        body = codec.encode(x, at(layout, number))
        lengths.append(8 * len(body) / x.size)
        errors.append(float(((codec.decode(body, at(layout, number)) - x) ** 2).sum() / (x**2).sum()))
    return max(lengths), float(np.mean(errors))


@pytest.mark.parametrize(("bits", "nmse"), [(1, 0.55), (2, 0.10), (4, 0.0060)])
def test_gaussian_numbers_at_a_budget(bits, nmse):
    length, error = measured(qf.layers.Ecdq(bits=float(bits)), gaussian(WIDE), WIDE)
    assert 0.97 * bits < length <= bits
    assert 1 / (4**bits - 1) < error <= nmse  # above the limit of an unbiased code


def test_heavy_tails_are_sent_as_they_are():
    length, error = measured(qf.layers.Ecdq(bits=2.0), heavy(WIDE), WIDE)
    assert length <= 2
    assert error <= 0.085
    bits = 2.0 * D
    assert not for_bits(Tensors(WIDE, heavy(WIDE)), bits)[0].rotated[0]
    assert for_bits(Tensors(WIDE, gaussian(WIDE)), bits)[0].rotated[0]


@pytest.mark.parametrize("nmse", [0.01, 0.3])
@pytest.mark.parametrize("source", [gaussian, heavy])
def test_a_target_of_the_error_is_met(source, nmse):
    _, error = measured(qf.layers.Ecdq(nmse=nmse), source(WIDE), WIDE, 10)
    assert 0.85 * nmse < error < 1.03 * nmse


def test_tensors_of_different_spreads_all_gain_as_much_from_another_bit():
    """At equal bytes less error than with each tensor at the same bits a coordinate, and than with one step for all."""
    spreads = np.repeat([10.0 ** (-i % 4) for i in range(24)], 384)
    x = (gaussian(LORA) * spreads).astype(np.float32)
    length, error = measured(qf.layers.Ecdq(bits=3.0), x, LORA)
    assert length <= 3
    assert error < 0.3 / (4**3 - 1)


def test_the_step_of_a_small_spread():
    spreads = 2.0 ** np.arange(-8, 9, 0.5)
    error = steps(spreads) ** 2 / 12
    np.testing.assert_allclose(error * (1 + error / spreads**2), 1 / 12, rtol=1e-9)
    assert float(steps(np.array(2.0**20))) == pytest.approx(1)


@pytest.mark.parametrize("step", [0.25, 1.0, 3.0])
def test_rate_and_distortion_of_gaussian_numbers(step):
    z = np.random.default_rng(1).normal(size=400_000)
    q = np.round(z / step).astype(int)
    p = np.bincount(q - q.min()) / q.size
    assert float(_gaussian.rate(np.array(step))) == pytest.approx(-(p[p > 0] @ np.log2(p[p > 0])), rel=0.01)
    table = _gaussian.means(step)
    centres = np.sign(q) * table[np.minimum(np.abs(q), len(table) - 1)]
    for cell in range(1, 3 if step < 2 else 2):
        assert table[cell] == pytest.approx(np.abs(z[np.abs(q) == cell]).mean(), rel=0.01)
    scale = (z @ z) / (z @ centres)
    assert float(_gaussian.distortion(np.array(step))) == pytest.approx(((scale * centres - z) ** 2).mean(), rel=0.01)


def test_it_is_unbiased_over_keys():
    layout = qf.Layout.of({"w": (2048,)})
    for source in (gaussian, heavy):
        x = source(layout)
        codec, keys = qf.layers.Ecdq(bits=1.0), 300
        outputs = [codec.decode(codec.encode(x, at(layout, n)), at(layout, n)) for n in range(keys)]
        errors = np.asarray(outputs, np.float64) - x
        expected = np.sqrt((errors.var(axis=0) / keys).sum())
        assert np.linalg.norm(errors.mean(axis=0)) < 1.15 * expected


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e37])
def test_any_magnitude(scale):
    x = (gaussian(WIDE) * scale).astype(np.float32)
    _, error = measured(qf.layers.Ecdq(bits=3.0), (x.astype(np.float64) / scale).astype(np.float32), WIDE, 1)
    assert error < 0.1
    body = qf.layers.Ecdq(bits=3.0).encode(x, at(WIDE))
    wide = qf.layers.Ecdq(bits=3.0).decode(body, at(WIDE)).astype(np.float64)
    assert ((wide - x) ** 2).sum() < (0.1 if scale > 1e-40 else 3) * (x.astype(np.float64) ** 2).sum()


def test_a_tensor_of_zeros_stays_zero():
    x = gaussian(LORA)
    x[384:768] = 0
    back = qf.layers.Ecdq(bits=1.0).decode(qf.layers.Ecdq(bits=1.0).encode(x, at(LORA)), at(LORA))
    assert not back[384:768].any()
    assert back[:384].any()


def test_one_knob():
    with pytest.raises(ConfigError, match="one of the two"):
        qf.layers.Ecdq(bits=1.0, nmse=0.1)


@pytest.mark.parametrize("size", [1024, 1500, 3072])
def test_mixing_reaches_every_number_and_is_undone(size):
    mixing, x = Mixing(size, qf.Key.of(1)), np.zeros(size, np.float32)
    x[-1] = 1
    y = mixing.forward(x)
    assert np.count_nonzero(y) == size or np.count_nonzero(np.abs(y) > 1e-9) > 0.6 * size
    np.testing.assert_allclose(mixing.backward(y), x, atol=1e-6)


@pytest.mark.parametrize("spread", [0.2, 5, 4000, 1e8])
def test_whole_numbers_come_back(spread):
    q = np.round(np.random.default_rng(0).standard_t(2, 5000) * spread).clip(-(2**29), 2**29).astype(np.int32)
    numbers = Integers(q)
    body = numbers.encode()
    assert len(body) <= _integers.largest(q.size)
    assert 8 * len(body) == pytest.approx(numbers.bits, rel=0.01, abs=150)
    reader = Reader(body)
    np.testing.assert_array_equal(_integers.decode(reader, q.size), q)
    reader.end()


def test_what_no_sender_writes_is_refused():
    codec, place = qf.layers.Ecdq(bits=2.0), at(LORA)
    body = bytearray(codec.encode(gaussian(LORA), place))
    for start, value in (
        (0, b"\0\0\x80\x7f"),
        (0, b"\0\0\0\0"),
        (4, b"\xff\x7f"),
        (6, b"\0"),
        (6, b"\xff"),
        (7, b"\xfe"),
    ):
        altered = body.copy()
        altered[start : start + len(value)] = value
        with pytest.raises(PayloadError):
            codec.decode(bytes(altered), place)


@pytest.mark.parametrize("step", [0.5, 3.0, 30.0])
def test_the_error_of_a_partly_subtracted_dither(step):
    rng = np.random.default_rng(0)
    x, u = rng.standard_t(3, 400_000) / step, rng.random(400_000) - 0.5
    fraction = x - np.floor(x)
    variance = float((fraction * (1 - fraction)).mean())
    error = np.rint(x + u) - 6 * variance * u - x
    assert float((error**2).mean()) == pytest.approx(float(left(np.array(variance))), rel=0.02)
    for share in (0.0, 1.0):  # what QSGD and full subtraction leave
        assert ((np.rint(x + u) - share * u - x) ** 2).mean() > 0.98 * (error**2).mean()


@pytest.mark.parametrize("bits", [0.1, 0.3])
def test_heavy_tails_at_low_rates_are_worth_more_than_to_qsgd(bits):
    """At the bytes of entropy-coded QSGD."""
    x = heavy(WIDE)
    qsgd = qf.layers.Qsgd(norm="linf", bucket="tensor", levels=5 if bits < 0.2 else 20, coding="entropy")
    body = qsgd.encode(x, at(WIDE))
    theirs = float(((qsgd.decode(body, at(WIDE)) - x) ** 2).sum() / (x**2).sum())
    length, ours = measured(qf.layers.Ecdq(bits=8 * len(body) / x.size), x, WIDE, 3)
    assert length <= 8 * len(body) / x.size
    assert ours < theirs
