import tracemalloc

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.qkd import transmit
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.eavesdroppers import InterceptResend, Nobody
from qfedfm.qkd.entropy import Seeded, System
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from tests.qkd.sampling import agrees, seeded

NOISY = Link(distance=15.0, efficiency=0.6, dark_counts=2e-3, misalignment=0.02, receiver_loss=1.0)


def compared(exchange: Exchange) -> tuple[np.ndarray, np.ndarray]:
    """Whether the bases are equal and whether the bits differ, for each click."""
    at = exchange.bob.pulse
    return exchange.alice.basis[at] == exchange.bob.basis, exchange.alice.bit[at] != exchange.bob.bit


def test_perfect_links_agree_where_bases_do() -> None:
    exchange = BB84().exchange(400_000, Link(), Nobody(), seeded())
    same, wrong = compared(exchange)
    assert len(exchange.bob) == len(exchange.alice) == exchange.pulses == 400_000
    assert agrees(same.sum(), len(same), 0.5)
    assert not wrong[same].any()
    assert agrees(wrong[~same].sum(), (~same).sum(), 0.5)
    assert agrees(exchange.alice.bit.sum(), 400_000, 0.5)
    assert exchange.alice.intensity is None
    assert exchange.truth["qber"] == 0


def test_single_photons_on_a_noisy_link() -> None:
    """Clicks 1 − (1 − Y₀)(1 − η); errors: the wrong detector alone, or both and a coin."""
    pulses = 2_000_000
    exchange = BB84().exchange(pulses, NOISY, Nobody(), seeded(1))
    same, wrong = compared(exchange)
    eta, e, dark = 10**-0.3 * 10**-0.1 * 0.6, 0.02, 2e-3
    silent = (1 - dark) ** 2 * (1 - eta)
    no_wrong, no_right = (1 - dark) * (1 - eta * e), (1 - dark) * (1 - eta * (1 - e))
    qber = (no_right - silent + (1 - no_wrong - no_right + silent) / 2) / (1 - silent)
    assert agrees(len(exchange.bob), pulses, 1 - silent)
    assert agrees(wrong[same].sum(), same.sum(), qber)
    assert exchange.truth["qber"] == wrong[same].sum() / same.sum()
    assert exchange.truth["sifted"] == same.sum()
    assert exchange.truth["yield_1"] == len(exchange.bob) / pulses
    assert (np.diff(exchange.bob.pulse) > 0).all()


@pytest.mark.parametrize("mean", [0.1, 0.5, 3.0])
def test_weak_pulses_have_the_published_gain_and_qber(mean: float) -> None:
    """Q = Y₀ + 1 − e^(−ημ), EQ = Y₀/2 + e_d (1 − e^(−ημ)) to first order in Y₀, where double clicks are rare."""
    link, pulses = Link(distance=50.0, efficiency=0.2, dark_counts=1e-4, misalignment=0.03), 2_000_000
    exchange = BB84(mean_photons=mean).exchange(pulses, link, Nobody(), seeded(2))
    same, wrong = compared(exchange)
    detected = 1 - np.exp(-0.02 * mean)
    gain = 2e-4 + detected
    assert agrees(len(exchange.bob), pulses, gain)
    assert agrees(wrong[same].sum(), same.sum(), (1e-4 + 0.03 * detected) / gain)
    assert agrees(wrong[same].sum(), same.sum(), link.error_rate(mean))


def test_double_clicks_of_bright_pulses_count_as_coins() -> None:
    link = Link(misalignment=0.1, dark_counts=0.02)
    exchange = BB84(mean_photons=8.0).exchange(300_000, link, Nobody(), seeded(3))
    same, wrong = compared(exchange)
    assert agrees(wrong[same].sum(), same.sum(), link.error_rate(8.0))
    assert agrees(len(same), 300_000, link.gain(8.0))


@pytest.mark.parametrize("p_z", [0.5, 0.9, 0.97])
def test_unequal_bases_keep_more(p_z: float) -> None:
    exchange = BB84(p_z=p_z).exchange(300_000, Link(), Nobody(), seeded(4))
    same, _ = compared(exchange)
    assert agrees(same.sum(), len(same), p_z**2 + (1 - p_z) ** 2)
    for half in (exchange.alice, exchange.bob):
        assert agrees((half.basis == 0).sum(), len(half), p_z)


def test_far_away_there_is_noise_only() -> None:
    link = Link(distance=500.0, efficiency=0.1, dark_counts=5e-3, misalignment=0.01)
    exchange = BB84().exchange(1_000_000, link, Nobody(), seeded(5))
    same, wrong = compared(exchange)
    assert agrees(len(exchange.bob), 1_000_000, 1 - (1 - 5e-3) ** 2)
    assert agrees(wrong[same].sum(), same.sum(), 0.5)


def test_dead_time_caps_the_clicks_also_between_chunks(monkeypatch) -> None:
    monkeypatch.setattr(transmit, "CHUNK", 1000)
    link, pulses = Link(efficiency=0.3, dead_time=37), 400_000
    exchange = BB84().exchange(pulses, link, Nobody(), seeded(6))
    rate, gaps = 0.3 / (1 + 0.3 * 37), np.diff(exchange.bob.pulse)
    assert gaps.min() == 38
    # 37 + a geometric gap: the number of renewals has variance n σ²/m³
    assert abs(len(exchange.bob) - pulses * rate) < 5 * np.sqrt(pulses * 0.7 / 0.3**2 * rate**3)
    assert rate == pytest.approx(link.live(0.3))
    at_edge = exchange.bob.pulse % 1000 < 30
    assert agrees(at_edge.sum(), len(at_edge), 0.03)


def test_bits_and_bases_are_the_entropys() -> None:
    class Ones(Seeded):
        def bits(self, count: int) -> np.ndarray:
            return np.ones(count, np.uint8)

    exchange = BB84().exchange(1000, Link(), Nobody(), Ones(seeded().key))
    assert exchange.alice.bit.all()
    assert exchange.alice.basis.all()
    assert exchange.bob.basis.all()


def test_the_same_seed_gives_the_same_exchange() -> None:
    one, same, other = (BB84().exchange(5000, NOISY, InterceptResend(0.4), seeded(seed)) for seed in (7, 7, 8))
    for half in ("alice", "bob"):
        for part in ("pulse", "bit", "basis"):
            np.testing.assert_array_equal(getattr(getattr(one, half), part), getattr(getattr(same, half), part))
    assert one.truth == same.truth != other.truth
    system = [BB84().exchange(5000, NOISY, Nobody(), System()).alice.bit for _ in range(2)]
    assert (system[0] != system[1]).any()


def test_nothing_arrives() -> None:
    exchange = BB84().exchange(1000, Link(distance=1e5), Nobody(), seeded())
    assert (len(exchange.alice), len(exchange.bob)) == (1000, 0)
    assert exchange.truth == {"sifted": 0, "yield_1": 0}


def test_memory_grows_with_the_records_only(monkeypatch) -> None:
    """Alice's 10 bytes a pulse and Bob's 10 a click, and a workspace that does not depend on the number of pulses."""
    monkeypatch.setattr(transmit, "CHUNK", 2**16)

    def workspace(chunks: int) -> int:
        tracemalloc.start()
        exchange = BB84().exchange(chunks * 2**16, NOISY, InterceptResend(), seeded())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        halves = (exchange.alice, exchange.bob)
        records = sum(array.nbytes for half in halves for array in (half.pulse, half.bit, half.basis))
        return peak - 2 * records + exchange.alice.pulse.nbytes  # chunks are joined, Alice's numbers made at once

    assert workspace(16) <= workspace(2) + 100_000


@pytest.mark.parametrize("p_z", [0.0, 1.0, -0.1, float("nan")])
def test_refuses_bases_that_never_occur(p_z: float) -> None:
    with pytest.raises(ConfigError, match="bases"):
        BB84(p_z=p_z)


@pytest.mark.parametrize("mean", [-0.1, 11.0, float("nan")])
def test_refuses_impossible_pulses(mean: float) -> None:
    with pytest.raises(ConfigError, match="photons"):
        BB84(mean_photons=mean)


def test_refuses_an_exchange_without_pulses() -> None:
    with pytest.raises(ConfigError, match="0 pulses"):
        BB84().exchange(0, Link(), Nobody(), seeded())
