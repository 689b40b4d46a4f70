import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.exchange import Exchange, Half
from qfedfm.qkd.sifting import CONCLUSIVE, EKERT, MATCHING, Rule, sift
from tests.qkd.phases import Photons


def pairs(pulses: int, settings: int, seed: int) -> Exchange:
    """Records with gaps on either side and random bits."""
    rng = Key.of(seed).numpy()

    def half() -> Half:
        pulse = np.flatnonzero(rng.random(pulses) < 0.6)
        bit, basis = (rng.integers(top, size=len(pulse)).astype(np.uint8) for top in (2, settings))
        return Half(pulse, bit, basis)

    return Exchange(pulses, half(), half())


def by_hand(exchange: Exchange, key: dict, test: dict) -> list[tuple[int, int, bool, bool]]:
    alice, bob = (
        {int(p): (int(x), int(s)) for p, x, s in zip(half.pulse, half.bit, half.basis, strict=True)}
        for half in (exchange.alice, exchange.bob)
    )
    rows = []
    for pulse in sorted(alice.keys() & bob.keys()):
        (x, a), (y, b) = alice[pulse], bob[pulse]
        if (a, b) in key or (a, b) in test:
            rows.append((x, y ^ {**key, **test}[a, b], (a, b) in key, (a, b) in test))
    return rows


@pytest.mark.parametrize(
    ("rule", "settings", "key", "test"),
    [
        (MATCHING, 2, {(0, 0): 0}, {(1, 1): 0}),
        (EKERT, 3, {(1, 0): 0, (2, 1): 0}, {(0, 0): 0, (0, 2): 1, (2, 0): 0, (2, 2): 0}),
        (Rule({(3, 3): 1}, {(0, 3): 0}), 4, {(3, 3): 1}, {(0, 3): 0}),
    ],
    ids=["matching", "ekert", "flipped"],
)
@pytest.mark.parametrize("pulses", [0, 1, 9, 1000])
def test_what_is_kept_is_what_a_look_at_both_records_keeps(rule, settings, key, test, pulses):
    exchange = pairs(pulses, settings, pulses)
    channel = Channel()
    found = sift(exchange, rule, channel)
    columns = zip(*(column.tolist() for column in (found.alice, found.bob, found.key, found.test)), strict=True)
    assert list(columns) == by_hand(exchange, key, test)
    assert int.from_bytes(channel.transcript[0].body[:4], "little") == len(exchange.bob)
    assert [message.kind for message in channel.transcript] == ["clicks", "bases"]
    assert channel.leaked == 0


def test_only_conclusive_outcomes_of_b92_are_announced():
    """Bits 0 as |0⟩, 1 as |+⟩ without noise: outcome 1 in Z excludes |0⟩, outcome 1 in X excludes |+⟩."""
    rng, pulses = Key.of(1).numpy(), 20_000
    bit, basis = (rng.integers(2, size=pulses).astype(np.uint8) for _ in range(2))
    one = np.where(bit == basis, 0.0, 0.5)  # |0⟩ in Z and |+⟩ in X never give outcome 1
    outcome = (rng.random(pulses) < one).astype(np.uint8)
    everything = np.arange(pulses)
    exchange = Exchange(pulses, Half(everything, bit, np.zeros_like(bit)), Half(everything, outcome, basis))
    channel = Channel()
    found = sift(exchange, CONCLUSIVE, channel)
    assert abs(len(found.alice) / pulses - 0.25) < 4 * np.sqrt(0.25 * 0.75 / pulses)
    assert (found.alice == found.bob).all()
    assert found.key.all()
    assert found.test.all()
    told = channel.transcript[0].body[4 + 4 * len(CONCLUSIVE.select(exchange.bob)) :]
    assert not any(told), "a setting would be the bit"


def test_intensities_come_from_alice():
    exchange = Photons(intensities=(0.5, 0.1, 0.0)).exchange(3000, None, None, Seeded(Key.of(0)))
    found = sift(exchange, MATCHING, Channel())
    same = exchange.alice.basis[exchange.bob.pulse] == exchange.bob.basis
    assert found.intensity.tolist() == exchange.alice.intensity[exchange.bob.pulse][same].tolist()
    assert sift(Photons().exchange(30, None, None, Seeded(Key.of(0))), MATCHING, Channel()).intensity is None


def altered(kind, change):
    return Channel(lambda message: change(message.body) if message.kind == kind else message.body)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("clicks", lambda b: b""), ("clicks", lambda b: b[:-1]), ("clicks", lambda b: b + b"\0"),
        ("clicks", lambda b: b"\xff\xff\xff\xff" + b[4:]), ("clicks", lambda b: b[:4] + b"\xff" * 4 + b[8:]),
        ("clicks", lambda b: b[:8] + bytes(4) + b[12:]), ("clicks", lambda b: b[:-20] + b"\xff" * 20),
        ("bases", lambda b: b""), ("bases", lambda b: b[:-1]),
        ("bases", lambda b: b + b"\0"), ("bases", lambda b: b[:-1] + b"\x01"), ("bases", lambda b: b[:-1] + b"\x07"),
    ],
    ids=["none", "short", "long", "count", "beyond", "twice", "settings", "silent", "cut", "more", "flag", "seven"],
)  # fmt: skip
def test_malformed_messages_are_refused_before_they_are_believed(kind, change):
    with pytest.raises(PayloadError):
        sift(pairs(100, 2, 3), MATCHING, altered(kind, change))


def test_what_two_bits_cannot_say_is_refused():
    exchange = pairs(100, 7, 0)
    with pytest.raises(ConfigError, match="setting"):
        sift(exchange, MATCHING, Channel())
    with pytest.raises(ConfigError, match="pulses"):
        sift(Exchange(2**32, exchange.alice, exchange.bob), MATCHING, Channel())


@given(st.binary(max_size=60), st.sampled_from(["clicks", "bases"]))
def test_no_bytes_do_anything_but_be_refused(body, kind):
    """Or, if they happen to be of the right form, be taken for what they say."""
    try:
        found = sift(SMALL, MATCHING, altered(kind, lambda _: body))
    except PayloadError:
        return
    assert len(found.bob) == len(found.key) <= 12


SMALL = pairs(20, 2, 5)
