"""Seals against published vectors and against the arithmetic written out."""

import uuid

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import qfedfm as qf
from qfedfm.core.errors import ConfigError, KeyServiceError, PayloadError, StackError
from qfedfm.core.keyring import Keyring
from qfedfm.core.keys import SharedMemory
from qfedfm.core.stack import bind
from qfedfm.core.wire import OVERHEAD, Frame, frame
from qfedfm.qkd.simulated import SimulatedLinks
from tests.core.parts import LAYOUT, Average, Halves, Pairs, Times, at
from tests.laws.checks import ring_pair

DELTA = np.array([1.0, -2.0, 0.5, 3.0, -0.25], np.float32)
SEALS = [qf.layers.AesGcm(), qf.layers.AesGcm(messages=1), qf.layers.OneTimePad()]
each_seal = pytest.mark.parametrize("seal", SEALS, ids=lambda seal: f"{seal.name}-{getattr(seal, 'messages', '')}")
KEY_ID = "00112233-4455-6677-8899-aabbccddeeff"


class Fixed:
    """A source that gives the keys of a published vector."""

    label, secret, raw = "a published vector", False, True

    def __init__(self, *keys, key_id=KEY_ID):
        self.keys, self.key_id = list(keys), key_id

    def fresh(self, peer, size):
        return self.key_id, self.keys.pop(0)

    def by_id(self, peer, key_id):
        return self.keys.pop(0)


def gcm(key, nonce, plain, identity):
    """SP 800-38D, Algorithms 1–4, over single blocks of AES."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
    hash_key = int.from_bytes(block(bytes(16)), "big")

    def times(x):
        product, v = 0, hash_key
        for bit in range(127, -1, -1):
            product ^= v * (x >> bit & 1)
            v = v >> 1 ^ (0xE1 << 120) * (v & 1)
        return product

    blocks = [plain[start : start + 16] for start in range(0, len(plain), 16)]
    stream = [block(nonce + number.to_bytes(4, "big")) for number in range(1, len(blocks) + 2)]
    hidden = b"".join(
        bytes(a ^ b for a, b in zip(*pair, strict=False)) for pair in zip(blocks, stream[1:], strict=True)
    )
    lengths = (8 * len(identity)).to_bytes(8, "big") + (8 * len(hidden)).to_bytes(8, "big")
    hashed = 0
    for part in (identity, hidden, lengths):
        for start in range(0, len(part), 16):
            hashed = times(hashed ^ int.from_bytes(part[start : start + 16].ljust(16, b"\0"), "big"))
    return hidden, (hashed ^ int.from_bytes(stream[0], "big")).to_bytes(16, "big")


KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
PLAIN = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
IDENTITY = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")


def test_the_mode_written_out_is_that_of_the_specification():
    """Test case 16 of McGrew & Viega, The Galois/Counter Mode of Operation, 2005, Appendix B."""
    hidden, tag = gcm(KEY, bytes.fromhex("cafebabefacedbaddecaf888"), PLAIN, IDENTITY)
    assert hidden.hex().startswith("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa")
    assert tag.hex() == "76fc6ece0f4e1768cddf8853bb2d551b"


@pytest.mark.parametrize("length", [0, 1, 16, 60])
def test_aes_gcm_written_out(length):
    client, server = (Keyring(Fixed(KEY), peer, b"") for peer in ("server", "client"))
    for number in range(3):
        counter = number.to_bytes(8, "big")
        hidden, tag = gcm(KEY, bytes(4) + counter, PLAIN[:length], IDENTITY)
        expected = uuid.UUID(KEY_ID).bytes + counter + hidden + tag
        assert bytes(qf.layers.AesGcm().seal(PLAIN[:length], IDENTITY, client)) == expected
        assert bytes(qf.layers.AesGcm().open(expected, IDENTITY, server)) == PLAIN[:length]


def poly1305(key, message):
    """RFC 8439, Section 2.5.1, as it stands there."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        block = message[start : start + 16] + b"\1"
        total = (total + int.from_bytes(block, "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:32], "little")) % 2**128).to_bytes(16, "little")


def test_the_tag_written_out_is_that_of_the_rfc():
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    assert poly1305(key, b"Cryptographic Forum Research Group").hex() == "a8061dc1305136c6c22b8baf0c0127a9"


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 1000])
def test_the_one_time_pad_written_out(length):
    rng = np.random.default_rng(length)
    body, key, identity = rng.bytes(length), rng.bytes(32 + length), rng.bytes(57)
    hidden = bytes(a ^ b for a, b in zip(body, key[32:], strict=True))
    tag = poly1305(key, len(identity).to_bytes(8, "little") + identity + hidden)
    expected = uuid.UUID(KEY_ID).bytes + hidden + tag
    assert bytes(qf.layers.OneTimePad().seal(body, identity, Keyring(Fixed(key), "server", b""))) == expected
    assert bytes(qf.layers.OneTimePad().open(expected, identity, Keyring(Fixed(key), "client", b""))) == body


def test_a_pad_hides_everything_but_the_length():
    """Whatever the body, each bit of a byte of what travels is fair: zeros and ones, six sigma of 65,536 bytes."""
    client = ring_pair()[0]
    for body in (bytes(1024), b"\xff" * 1024):
        sent = [bytes(qf.layers.OneTimePad().seal(body, b"", client))[16:-16] for _ in range(64)]
        ones = np.unpackbits(np.frombuffer(b"".join(sent), np.uint8)).reshape(-1, 8).mean(axis=0)
        assert np.abs(ones - 0.5).max() < 6 * 0.5 / 256


def test_the_one_time_pad_refuses_keys_that_nobody_calls_raw():
    client = Keyring(SharedMemory().end("client"), "server", b"")
    for use in (qf.layers.OneTimePad().seal, qf.layers.OneTimePad().open):
        with pytest.raises(StackError, match="keys shared in memory"):
            use(bytes(100), b"", client)


@each_seal
def test_no_key_and_number_are_used_twice(seal):
    client, sent = ring_pair()[0], []
    for _ in range(50):
        sealed = bytes(seal.seal(b"the same", b"the same", client))
        sent.append(sealed[:24] if seal.name == "aes-gcm" else sealed[:16])
    assert len(set(sent)) == 50
    per_key = {1: 50, 2**32: 1}[getattr(seal, "messages", 1)]
    assert len({one[:16] for one in sent}) == per_key


def test_a_new_key_comes_when_the_messages_under_one_are_used_up():
    seal, (client, server) = qf.layers.AesGcm(messages=2), ring_pair()
    sent = [bytes(seal.seal(b"x", b"", client)) for _ in range(5)]
    assert [one[16:24][-1] for one in sent] == [0, 1, 0, 1, 0]
    assert len({one[:16] for one in sent}) == 3
    assert client.account.key_bits == 3 * 256
    for one in (sent[0], sent[2], sent[3], sent[4]):
        seal.open(one, b"", server)
    for one in sent:
        with pytest.raises(PayloadError):
            seal.open(one, b"", server)
    with pytest.raises(PayloadError, match="2 messages"):
        qf.layers.AesGcm(messages=2).open(bytes(23) + b"\2" + bytes(20), b"", server)


def test_a_lost_message_is_a_gap_and_an_old_one_is_refused():
    seal, (client, server) = qf.layers.AesGcm(), ring_pair()
    sent = [bytes(seal.seal(b"x", b"", client)) for _ in range(3)]
    seal.open(sent[0], b"", server)
    seal.open(sent[2], b"", server)
    with pytest.raises(PayloadError, match="message 1 after message 2"):
        seal.open(sent[1], b"", server)


@each_seal
@pytest.mark.parametrize("codec", [Halves(), qf.layers.Qsgd()], ids=lambda codec: codec.name)
def test_a_sealed_stack_gives_the_vector_of_the_stack_without(seal, codec):
    plain = bind(qf.stack(Times(), codec, reduce=Average()), LAYOUT, (1, 2, 3), cohort=3, validation=0)
    made = qf.stack(Times(), codec, seal, Pairs(), reduce=Average())
    assert [part.name for part in made.parts] == ["times", codec.name, seal.name, "pairs", "average"]
    sealed = bind(made, LAYOUT, (1, 2, 3), cohort=3, validation=0)
    client, server = ring_pair()
    for number in (1, 2):
        here = at(round=number)
        payload, _ = sealed.send(DELTA, {}, here, client)
        open_payload, _ = plain.send(DELTA, {}, here)
        assert len(payload) == len(open_payload) + seal.overhead
        assert open_payload[OVERHEAD:] not in payload
        vector, _ = sealed.receive(payload, {}, here, server)
        assert vector.tobytes() == plain.receive(open_payload, {}, here)[0].tobytes()
        with pytest.raises(PayloadError):
            sealed.receive(payload, {}, here, server)
    assert client.account.bytes == 2 * seal.overhead
    assert client.account.seconds > 0


FIELDS = {
    "epoch": 1,
    "round": 2,
    "client": 3,
    "samples": 11,
    "layout": b"another ",
    "stack": b"another ",
    "direction": 1,
}


@each_seal
@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_the_header_is_bound(seal, name):
    """Also when whoever altered it has made the checksum right."""
    fields = {"epoch": 0, "round": 1, "client": 2, "layout": bytes(8), "stack": bytes(8), "direction": 0, "samples": 10}
    client, server = ring_pair()
    header, other = Frame(**fields), Frame(**{**fields, name: FIELDS[name]})
    sealed = bytes(seal.seal(b"body", client.associated(header), client))
    assert frame(b"", header) != frame(b"", other)
    with pytest.raises(PayloadError, match="authentic"):
        seal.open(sealed, server.associated(other), server)
    assert bytes(seal.open(sealed, server.associated(header), server)) == b"body"


def test_another_run_is_refused():
    links = SimulatedLinks()
    client, _ = ring_pair(links)
    header = Frame(0, 1, 2, bytes(8), bytes(8))
    sealed = bytes(qf.layers.AesGcm().seal(b"body", client.associated(header), client))
    other = Keyring(links.end("server"), "client", b"another run")
    with pytest.raises(PayloadError, match="authentic"):
        qf.layers.AesGcm().open(sealed, other.associated(header), other)


def test_seals_in_the_wrong_place_or_without_keys_are_refused():
    aes, pad = qf.layers.AesGcm(), qf.layers.OneTimePad()
    for layers in ((aes, Halves()), (Pairs(), aes), (aes, Times())):
        with pytest.raises(StackError, match="after"):
            qf.stack(*layers, reduce=Average())
    with pytest.raises(StackError, match="each once"):
        qf.stack(aes, qf.layers.AesGcm(messages=1), reduce=Average())
    assert (
        len({qf.stack(*seals, reduce=Average()).digest for seals in ((), (aes,), (pad,), (aes, pad), (pad, aes))}) == 5
    )
    bound = bind(qf.stack(aes, reduce=Average()), LAYOUT, (1, 2, 3), cohort=3, validation=0)
    with pytest.raises(StackError, match="without keys"):
        bound.encode(DELTA, at())
    with pytest.raises(ConfigError, match="messages"):
        qf.layers.AesGcm(messages=0)


def test_two_seals_in_a_row():
    made = bind(qf.stack(*SEALS[1:], reduce=Average()), LAYOUT, (1, 2, 3), cohort=3, validation=0)
    client, server = ring_pair()
    payload, _ = made.send(DELTA, {}, at(), client)
    assert len(payload) == OVERHEAD + 20 + 40 + 32
    np.testing.assert_array_equal(made.receive(payload, {}, at(), server)[0], DELTA)


def test_a_source_that_gives_something_else_is_refused():
    for source in (Fixed(bytes(16)), Fixed(bytes(32), key_id="17"), Fixed(bytes(32), key_id=KEY_ID.upper())):
        with pytest.raises(KeyServiceError):
            qf.layers.AesGcm().seal(b"", b"", Keyring(source, "server", b""))
