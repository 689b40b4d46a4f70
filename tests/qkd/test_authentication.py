import traceback

import pytest

from qfedfm.core.errors import AuthenticationError, BudgetError
from qfedfm.core.key import Key
from qfedfm.qkd.authentication import OVERHEAD, AuthenticatedChannel, Lane, Pool
from qfedfm.qkd.channel import ALICE, BOB, Channel, Message
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.finite import FixedLength
from qfedfm.qkd.polynomial import PRIME
from qfedfm.qkd.proof import Reason
from qfedfm.qkd.session import Session
from qfedfm.qkd.sifting import MATCHING
from tests.qkd.phases import Genie, Photons

SECRET = Seeded(Key.of(77)).bytes(4096)
KINDS = [
    "clicks", "bases", "test", "test answer", "parities", "parities of mine", "verification", "verified",
    "amplification seed",
]  # fmt: skip


def lanes(sender: str = ALICE) -> tuple[Lane, Lane]:
    return Lane(sender, Pool(SECRET)), Lane(sender, Pool(SECRET))


def test_messages_arrive_and_the_tag_is_wegmans_and_carters():
    sealing, opening = lanes(BOB)
    point, matrix = (int.from_bytes(part, "little") for part in (SECRET[:16], SECRET[16:40]))
    for i, (kind, body) in enumerate([("a", b""), ("clicks", bytes(100)), ("a", b"\xff" * 31)]):
        sealed = sealing.seal(kind, body)
        text = bytes([1]) + i.to_bytes(8, "little") + len(kind).to_bytes(2, "little") + kind.encode() + body
        blocks = [int.from_bytes(text[j : j + 15] + b"\x01", "little") for j in range(0, len(text), 15)]
        value = sum(c * pow(point % 2**127, len(blocks) - j, PRIME) for j, c in enumerate(blocks)) % PRIME
        rows = [sum((value >> j & 1) * (matrix >> (row + j) & 1) for j in range(127)) % 2 for row in range(64)]
        tag = sum(bit << row for row, bit in enumerate(rows))
        masked = (tag ^ int.from_bytes(SECRET[40 + 8 * i :][:8], "little")).to_bytes(8, "little")
        assert sealed == i.to_bytes(8, "little") + body + masked
        assert opening.open(kind, sealed) == body


@pytest.mark.parametrize("bit", range(8 * (OVERHEAD + 5)))
def test_any_flipped_bit_is_refused_and_nothing_passes_afterwards(bit):
    sealing, opening = lanes()
    first, second = sealing.seal("test", b"hello"), sealing.seal("test", b"again")
    flipped = (int.from_bytes(first, "little") ^ 1 << bit).to_bytes(len(first), "little")
    with pytest.raises(AuthenticationError):
        opening.open("test", flipped)
    for later in (first, second):
        with pytest.raises(AuthenticationError, match="after a message"):
            opening.open("test", later)


def test_order_kind_and_direction_are_part_of_the_message():
    for deliver in (
        lambda seal, opening: (seal("a", b"1"), opening.open("a", seal("a", b"2"))),  # dropped
        lambda seal, opening: [opening.open("a", sealed) for sealed in [seal("a", b"1"), seal("a", b"2")][::-1]],
        lambda seal, opening: [opening.open("a", sealed) for sealed in [seal("a", b"1")] * 2],  # replayed
        lambda seal, opening: opening.open("b", seal("a", b"1")),
        lambda seal, opening: opening.open("a", Lane(BOB, Pool(SECRET)).seal("a", b"1")),  # reflected
        lambda seal, opening: opening.open("a", seal("a", b"1")[:-1]),
        lambda seal, opening: opening.open("a", seal("a", b"1") + b"\0"),
        lambda seal, opening: opening.open("a", b""),
        lambda seal, opening: opening.open("a", Lane(ALICE, Pool(bytes(99))).seal("a", b"1")),  # another key
    ):
        sealing, opening = lanes()
        with pytest.raises(AuthenticationError):
            deliver(sealing.seal, opening)


def session(between=None, alice=SECRET, bob=SECRET):
    """A session on an authenticated channel that somebody may sit on."""
    proof = FixedLength(6000, 1500, 0.02, 1200)
    channel = AuthenticatedChannel(Channel(between), alice, bob)
    done = Session(MATCHING, proof, Genie()).run(Photons(), 60_000, None, None, channel, Seeded(Key.of(5)))
    return done, channel


def test_an_honest_session_pays_for_its_messages():
    done, channel = session()
    assert done.account.reason is None
    assert [message.kind for message in channel.transcript] == KINDS
    assert done.account.authentication == 64 * len(KINDS)
    assert channel.consumed == 64 * (len(KINDS) + 2 * 5), "and once a point and a matrix for each direction"
    assert done.account.net == done.account.bits - done.account.authentication
    blocks = [-(-(len(m.body) - OVERHEAD + len(m.kind) + 11) // 15) for m in channel.transcript]
    bound = sum(count / PRIME + 2**-64 for count in blocks)
    assert done.account.epsilon.authentication == pytest.approx(bound, rel=1e-12)


class Eve:
    """Alters the messages of one kind."""

    def __init__(self, kind: str, attack: str):
        self.kind, self.attack, self.seen = kind, attack, [b""]

    def __call__(self, message: Message) -> bytes:
        self.seen.append(message.body)
        if message.kind != self.kind:
            return message.body
        body = bytearray(message.body)
        if self.attack == "flip":
            body[len(body) // 2] ^= 4
        return {
            "flip": bytes(body),
            "replace": bytes(len(body)),
            "drop": b"",
            "replay": self.seen[-3] if len(self.seen) > 3 else self.seen[0],
            "reflect": self.seen[-2],
            "answer": self.own(message),
        }[self.attack]

    @staticmethod
    def own(message: Message) -> bytes:
        """The man in the middle answers by himself, under a key that he would like to be the right one."""
        return Lane(message.sender, Pool(bytes(range(96)))).seal(message.kind, message.body[8:-8])


@pytest.mark.parametrize("attack", ["flip", "replace", "drop", "replay", "reflect", "answer"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_message_of_a_session_can_be_tampered_with(kind, attack):
    done, _ = session(Eve(kind, attack))
    assert done.account.reason is Reason.AUTHENTICATION
    assert len(done.alice) == len(done.bob) == done.account.bits == 0
    assert done.account.epsilon is None
    assert kind in done.account.detail


def test_parties_with_different_keys_never_begin():
    done, channel = session(bob=SECRET[::-1])
    assert done.account.reason is Reason.AUTHENTICATION
    assert len(channel.transcript) == 1


def test_a_pool_ends():
    with pytest.raises(BudgetError, match="8 bytes of initial key, 0 left"):
        session(alice=bytes(96), bob=bytes(96))
    with pytest.raises(BudgetError):
        AuthenticatedChannel(Channel(), bytes(79), bytes(79))


def test_initial_keys_never_show():
    canary = b"canary-of-the-initial-key-" * 8
    channel = AuthenticatedChannel(Channel(lambda m: m.body[:-1] + b"\0"), canary, canary)
    with pytest.raises(AuthenticationError) as caught:
        channel.send(ALICE, "clicks", b"x")
    shown = "".join(traceback.format_exception(caught.value)) + repr(channel) + repr(Pool(canary)) + str(vars(channel))
    assert "canary" not in shown
    assert "canary" not in str(caught.value)
