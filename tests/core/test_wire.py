"""The payload against a header that is packed here by hand, field by field from the table of the format."""

import hashlib
from dataclasses import replace

import pytest

from qfedfm.core.errors import PayloadError
from qfedfm.core.wire import DOWN, EVERYONE, OVERHEAD, UP, Frame, frame, unframe

EXPECTED = Frame(3, 17, 2**32 - 2, b"layout##", b"stack###", UP, 0)
SENT = replace(EXPECTED, samples=2**63 + 5)
BODY = bytes(range(40))
FIELDS = {"magic": (0, 4), "version": (4, 5), "direction": (5, 6), "reserved": (6, 8), "epoch": (8, 12),
          "round": (12, 16), "client": (16, 20), "layout": (20, 28), "stack": (28, 36), "samples": (36, 44),
          "length": (44, 52), "checksum": (52, 60)}  # fmt: skip


def by_hand(body: bytes = BODY, **changes: bytes) -> bytes:
    """A payload with a right checksum, any field replaced by other bytes."""
    fields = {
        "magic": b"QFFM", "version": b"\1", "direction": b"\0", "reserved": b"\0\0",
        "epoch": (3).to_bytes(4, "little"), "round": (17).to_bytes(4, "little"),
        "client": (2**32 - 2).to_bytes(4, "little"), "layout": b"layout##", "stack": b"stack###",
        "samples": (2**63 + 5).to_bytes(8, "little"), "length": len(body).to_bytes(8, "little"),
    }  # fmt: skip
    head = b"".join(changes.get(name, value) for name, value in fields.items())
    assert len(head) == 52
    return head + changes.get("checksum", hashlib.blake2b(head + body, digest_size=8).digest()) + body


def test_the_payload_is_the_table_of_the_format():
    assert frame(BODY, SENT) == by_hand()
    assert len(by_hand()) == OVERHEAD + len(BODY) == 100
    assert frame(b"", SENT) == by_hand(b"")


def test_a_payload_opens_to_its_body_and_the_claimed_samples():
    body, samples = unframe(by_hand(), EXPECTED, 40)
    assert bytes(body) == BODY
    assert samples == 2**63 + 5
    assert bytes(unframe(by_hand(b""), EXPECTED, 0)[0]) == b""


def test_the_body_is_not_copied():
    payload = by_hand()
    body, _ = unframe(payload, EXPECTED, 40)
    assert body.obj is payload


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("magic", b"QFFN"), ("version", b"\0"), ("version", b"\2"), ("reserved", b"\1\0"), ("reserved", b"\0\1"),
        ("direction", b"\1"), ("direction", b"\xff"), ("epoch", b"\2\0\0\0"), ("round", b"\x10\0\0\0"),
        ("client", b"\0\0\0\0"), ("client", b"\xff\xff\xff\xff"), ("layout", b"layout#\0"), ("stack", b"other###"),
    ],
)  # fmt: skip
def test_each_field_is_compared_even_when_the_checksum_is_right(field, value):
    named = "wire format" if field in ("magic", "version", "reserved") else f"payload of {field}"
    with pytest.raises(PayloadError, match=named):
        unframe(by_hand(**{field: value}), EXPECTED, 40)


@pytest.mark.parametrize("claimed", [0, 39, 41, 2**63, 2**64 - 1])
def test_a_false_length_is_refused_even_when_the_checksum_is_right(claimed):
    with pytest.raises(PayloadError, match=f"claims {claimed}"):
        unframe(by_hand(length=claimed.to_bytes(8, "little")), EXPECTED, 2**64)


def test_a_body_larger_than_the_codec_allows_is_refused():
    with pytest.raises(PayloadError, match="at most 39"):
        unframe(by_hand(), EXPECTED, 39)


@pytest.mark.parametrize("field", FIELDS)
def test_every_bit_of_the_header_is_protected(field):
    start, stop = FIELDS[field]
    for position in range(8 * start, 8 * stop):
        altered = bytearray(by_hand())
        altered[position // 8] ^= 1 << position % 8
        with pytest.raises(PayloadError):
            unframe(bytes(altered), EXPECTED, 40)


def test_every_bit_of_the_body_is_protected():
    for position in range(8 * OVERHEAD, 8 * len(by_hand())):
        altered = bytearray(by_hand())
        altered[position // 8] ^= 1 << position % 8
        with pytest.raises(PayloadError, match="checksum"):
            unframe(bytes(altered), EXPECTED, 40)


def test_every_truncation_and_extension_is_refused():
    payload = by_hand()
    for length in range(len(payload)):
        with pytest.raises(PayloadError):
            unframe(payload[:length], EXPECTED, 40)
    for extra in (b"\0", b"\0" * 60, payload):
        with pytest.raises(PayloadError):
            unframe(payload + extra, EXPECTED, 2**20)


def test_a_broadcast_is_not_an_update():
    down = replace(EXPECTED, client=EVERYONE, direction=DOWN)
    payload = frame(BODY, down)
    assert bytes(unframe(payload, down, 40)[0]) == BODY
    with pytest.raises(PayloadError, match="direction 1"):
        unframe(payload, EXPECTED, 40)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client": 2**32}, {"client": -1}, {"round": 2**32}, {"epoch": -1}, {"samples": 2**64}, {"samples": -1},
        {"layout": b"short"}, {"layout": b"ninebytes"}, {"stack": b""},
    ],
)  # fmt: skip
def test_an_identity_that_does_not_fit_the_header_is_our_error(wrong):
    with pytest.raises(PayloadError, match=next(iter(wrong))):
        frame(BODY, replace(SENT, **wrong))
