"""Key agreement: against a responder that is written out here, and against everybody who sits between the two."""

import dataclasses
import hashlib
import hmac
import json
import os
import traceback
import uuid
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from qfedfm.core.errors import AgreementError, ConfigError, KeyUnknownError
from qfedfm.core.keys import SharedMemory
from qfedfm.qkd.agreed import AgreedLinks
from qfedfm.qkd.agreement import Agreed, Context, Initiator, Responder, Suite, joined
from qfedfm.qkd.credentials import PreShared, Signatures
from qfedfm.qkd.simulated import SimulatedLinks

FOUND = json.loads(Path(__file__).with_name("mlkem768.json").read_text(encoding="utf-8"))
VECTOR = {name: bytes.fromhex(FOUND[name]) for name in ("seed", "c", "K")}
OWN = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
OTHERS = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOTH = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
"""X25519, RFC 7748, Section 6.1: Bob's private key, Alice's public key, their secret."""
PSK = bytes(range(32))
SIGNING = {name: MLDSA65PrivateKey.generate() for name in ("client", "server")}
SIGNED = tuple(Signatures(SIGNING[a], SIGNING[b].public_key()) for a, b in (("client", "server"), ("server", "client")))
CREDENTIALS = {"pre-shared": (PreShared(PSK), PreShared(PSK)), "signed": SIGNED}


def context(suite, **changes):
    return dataclasses.replace(Context(suite, "client", "server", b"a run", 1, 7), **changes)


def parties(suite, credentials="pre-shared", links=None, **changes):
    links = links or SimulatedLinks()
    sources = [links.end(name) if suite is Suite.HYBRID else None for name in ("client", "server")]
    contexts = context(suite), context(suite, **changes)
    ours, theirs = CREDENTIALS[credentials]
    return Initiator(contexts[0], ours, sources[0]), Responder(contexts[1], theirs, sources[1])


each_suite = pytest.mark.parametrize("suite", list(Suite), ids=lambda suite: suite.name)


@each_suite
@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_both_ends_hold_the_same_keys_and_no_two_agreements_do(suite, credentials):
    seen = set()
    for _ in range(3):
        initiator, responder = parties(suite, credentials)
        confirm, ours = initiator.finish(responder.answer(initiator.offer()))
        theirs = responder.finish(confirm)
        for purpose in ("up", "down", ""):
            for size in (1, 32, 100):
                assert ours.key(purpose, size) == theirs.key(purpose, size)
                assert len(ours.key(purpose, size)) == size
            seen.add(ours.key(purpose))
        assert ours.key("up", 100)[:32] == ours.key("up")
    assert len(seen) == 9


def hkdf(secret, info, size):
    """RFC 5869, Sections 2.2 and 2.3, with SHA-256 and no salt."""
    prk = hmac.digest(bytes(32), secret, "sha256")
    block, found = b"", b""
    for number in range(1, -(-size // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([number]), "sha256")
        found += block
    return found[:size]


def test_the_derivation_written_out_is_that_of_the_rfc():
    """Test case 3 of Appendix A: neither salt nor info."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    assert hkdf(b"\x0b" * 22, b"", 42).hex() == expected


def fields_of(*fields):
    return b"".join(len(one).to_bytes(4, "big") + one for one in fields)


LABEL = b"qfedfm key agreement 1"
NUMBERS = (b"a run", (1).to_bytes(4, "big"), (7).to_bytes(4, "big"))


class ByHand:
    """A responder with a pre-shared key that sends a published ciphertext of which it knows the secret."""

    def __init__(self, suite, offer, own_share, first, second=VECTOR["K"]):
        self.suite, self.secrets = suite, fields_of(first, second)
        length = 16 if suite == b"HYBRID" else 32
        self.exchanged = (offer[2 : 2 + length], own_share, offer[2 + length : 2 + length + 1184], VECTOR["c"])
        self.said = fields_of(
            LABEL, suite, b"client", b"server", b"transcript", *NUMBERS, offer, own_share + VECTOR["c"]
        )

    def key(self, purpose, size=32):
        bound = fields_of(self.suite, b"client", b"server", purpose, *NUMBERS, *self.exchanged)
        return hkdf(self.secrets, LABEL + hashlib.sha256(bound).digest(), size)

    def answer(self):
        role = LABEL + b" responder"
        proof = hmac.digest(PSK, bytes([len(role)]) + role + self.said, "sha256")
        tag = hmac.digest(self.key(b"confirmation by the responder"), self.said, "sha256")
        return self.exchanged[1] + VECTOR["c"] + proof + tag


class FixedLink:
    label, secret = "a test", False

    def __init__(self, key):
        self.key = key

    def fresh(self, peer, size):
        return "00112233-4455-6677-8899-aabbccddeeff", self.key

    def by_id(self, peer, key_id):
        return self.key


@pytest.fixture
def published(monkeypatch):
    """The initiator's own keys are those of the published vectors."""
    kem, curve = MLKEM768PrivateKey.from_seed_bytes(VECTOR["seed"]), X25519PrivateKey.from_private_bytes(OWN)
    monkeypatch.setattr(MLKEM768PrivateKey, "generate", staticmethod(lambda: kem))
    monkeypatch.setattr(X25519PrivateKey, "generate", staticmethod(lambda: curve))


def begun(suite, first):
    source = FixedLink(first) if suite is Suite.HYBRID else None
    initiator = Initiator(context(suite), PreShared(PSK), source)
    return initiator, initiator.offer()


KNOWN = {Suite.HYBRID: (b"", bytes(range(100, 132))), Suite.CLASSICAL: (OTHERS, BOTH)}


@each_suite
@pytest.mark.usefixtures("published")
def test_the_key_is_that_of_the_formula_over_published_secrets(suite):
    share, first = KNOWN[suite]
    initiator, offer = begun(suite, first)
    hand = ByHand(suite.name.encode(), offer, share, first)
    assert len(offer) == 2 + (16 if suite is Suite.HYBRID else 32) + 1184 + 32
    confirm, agreed = initiator.finish(hand.answer())
    assert agreed.key("up") == hand.key(b"up")
    assert agreed.key("down", 80) == hand.key(b"down", 80)
    assert confirm == hmac.digest(hand.key(b"confirmation by the initiator"), hand.said, "sha256")


@each_suite
@pytest.mark.usefixtures("published")
def test_one_secret_alone_does_not_give_the_key(suite):
    """Whoever knows one of them and guesses the other has another key, and is found out at once."""
    share, first = KNOWN[suite]
    keys = set()
    for known in ((first, VECTOR["K"]), (first, bytes(32)), (bytes(32), VECTOR["K"]), (first, b""), (b"", VECTOR["K"])):
        initiator, offer = begun(suite, first)
        hand = ByHand(suite.name.encode(), offer, share, *known)
        keys.add(hand.key(b"up"))
        if known != (first, VECTOR["K"]):
            with pytest.raises(AgreementError, match="confirmation"):
                initiator.finish(hand.answer())
    assert len(keys) == 5


def test_where_one_secret_ends_matters():
    made = [
        Agreed(context(Suite.HYBRID), (b"",), joined(*pair)) for pair in ((b"ab", b"c"), (b"a", b"bc"), (b"abc", b""))
    ]
    assert len({one.key("up") for one in made}) == 3
    moved = [Agreed(context(Suite.HYBRID), pair, b"s") for pair in ((b"ab", b"c"), (b"a", b"bc"))]
    assert moved[0].key("up") != moved[1].key("up")


@each_suite
@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_every_altered_byte_of_every_message_is_refused(suite, credentials):
    """Each byte of what is short, and every 37th of signatures and ML-KEM values; the true message goes through."""
    initiator, responder = parties(suite, credentials)
    offer = initiator.offer()
    for altered in alterations(offer):
        with pytest.raises(AgreementError):
            responder.answer(altered)
    answer = responder.answer(offer)
    for altered in alterations(answer):
        with pytest.raises(AgreementError):
            initiator.finish(altered)
    confirm, ours = initiator.finish(answer)
    for altered in alterations(confirm):
        with pytest.raises(AgreementError):
            responder.finish(altered)
    assert responder.finish(confirm).key("up") == ours.key("up")


def alterations(message):
    places = sorted({*range(70), *range(0, len(message), 37), *range(len(message) - 70, len(message))})
    for place in places:
        if 0 <= place < len(message):
            yield message[:place] + bytes([message[place] ^ 1 << place % 8]) + message[place + 1 :]
    yield from (b"", message[:-1], message + b"\0", message[1:], message * 2, os.urandom(len(message)))


CHANGES = [{"initiator": "another"}, {"responder": "another"}, {"run": b"another"}, {"epoch": 2}, {"round": 8}]


@each_suite
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_parties_that_mean_something_else_do_not_agree(suite, change):
    initiator, responder = parties(suite, **change)
    with pytest.raises(AgreementError, match="not proven"):
        responder.answer(initiator.offer())


@each_suite
def test_the_key_depends_on_every_field(suite):
    exchanged = (b"share", b"other", b"ek", b"ct")
    made = [Agreed(context(suite, **change), exchanged, b"secrets") for change in ({}, *CHANGES)]
    for place in range(4):
        made.append(Agreed(context(suite), tuple(x + b"!" * (i == place) for i, x in enumerate(exchanged)), b"secrets"))
    other = next(one for one in Suite if one is not suite)
    made += [Agreed(context(other), exchanged, b"secrets"), Agreed(context(suite), exchanged, b"others")]
    assert len({one.key("up") for one in made} | {made[0].key("down")}) == len(made) + 1


def test_somebody_else_cannot_speak_for_a_party():
    stranger = MLDSA65PrivateKey.generate()
    for ours, theirs in (
        (Signatures(stranger, SIGNING["server"].public_key()), SIGNED[1]),
        (PreShared(bytes(32)), PreShared(PSK)),
    ):
        initiator = Initiator(context(Suite.CLASSICAL), ours)
        with pytest.raises(AgreementError, match="initiator"):
            Responder(context(Suite.CLASSICAL), theirs).answer(initiator.offer())
    initiator = Initiator(context(Suite.CLASSICAL), SIGNED[0])
    false = Responder(context(Suite.CLASSICAL), Signatures(stranger, SIGNING["client"].public_key()))
    with pytest.raises(AgreementError, match="responder"):
        initiator.finish(false.answer(initiator.offer()))


def test_a_message_is_not_taken_for_one_of_the_other_role_or_suite():
    for credentials in CREDENTIALS.values():
        proof = credentials[0].prove("initiator", b"said")
        credentials[1].check("initiator", b"said", proof)
        for role, said in (("responder", b"said"), ("initiator", b"said!"), ("initiato", b"rsaid")):
            with pytest.raises(AgreementError):
                credentials[1].check(role, said, proof)
    initiator, _ = parties(Suite.CLASSICAL)
    padded = initiator.offer()
    with pytest.raises(AgreementError, match="bytes"):
        parties(Suite.HYBRID)[1].answer(padded)
    with pytest.raises(AgreementError, match="version and suite"):
        parties(Suite.CLASSICAL)[1].answer(b"\2" + padded[1:])


def test_nothing_is_taken_from_the_link_for_a_stranger():
    links = SimulatedLinks()
    initiator, responder = parties(Suite.HYBRID, links=links)
    offer = initiator.offer()
    with pytest.raises(AgreementError):
        responder.answer(offer[:-1] + bytes([offer[-1] ^ 1]))
    initiator.finish(responder.answer(offer))
    with pytest.raises(AgreementError, match="not to be had"):  # a replay, to a new responder
        parties(Suite.HYBRID, links=links)[1].answer(offer)


def test_a_link_whose_ends_differ_is_found_out():
    memory = SharedMemory()

    class Noisy:
        label, secret = "a noisy link", True

        def fresh(self, peer, size):
            raise NotImplementedError

        def by_id(self, peer, key_id):
            key = memory.end("server").by_id(peer, key_id)
            return key[:-1] + bytes([key[-1] ^ 1])

    initiator = Initiator(context(Suite.HYBRID), PreShared(PSK), memory.end("client"))
    responder = Responder(context(Suite.HYBRID), PreShared(PSK), Noisy())
    with pytest.raises(AgreementError, match="confirmation by the responder"):
        initiator.finish(responder.answer(initiator.offer()))


def test_an_x25519_key_of_low_order_is_refused(monkeypatch):
    """Its secret would be zero, whoever computes it."""
    initiator, responder = parties(Suite.CLASSICAL)
    offer = initiator.offer()
    body = offer[:2] + bytes(32) + offer[34:-32]
    forged = body + PreShared(PSK).prove("initiator", fields_of(
        LABEL, b"CLASSICAL", b"client", b"server", b"transcript", *NUMBERS, body
    ))  # fmt: skip
    with pytest.raises(AgreementError, match="low order"):
        responder.answer(forged)


def test_steps_out_of_order_are_refused():
    initiator, responder = parties(Suite.CLASSICAL)
    with pytest.raises(AgreementError, match="before the offer"):
        initiator.finish(b"")
    with pytest.raises(AgreementError, match="before the offer"):
        responder.finish(b"")
    offer = initiator.offer()
    with pytest.raises(AgreementError, match="second offer"):
        initiator.offer()
    responder.answer(offer)
    with pytest.raises(AgreementError, match="second offer"):
        responder.answer(offer)


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="HYBRID without"):
        Initiator(context(Suite.HYBRID), PreShared(PSK))
    with pytest.raises(ConfigError, match="CLASSICAL with"):
        Responder(context(Suite.CLASSICAL), PreShared(PSK), SimulatedLinks().end("server"))
    with pytest.raises(ConfigError, match="31 bytes"):
        PreShared(bytes(31))
    for size in (0, 8161):
        with pytest.raises(ConfigError, match="derived"):
            Agreed(context(Suite.HYBRID), (), b"").key("up", size)


def test_no_secret_shows_in_a_repr_or_a_traceback():
    canary = bytes.fromhex("c0ffee" * 11)[:32]
    initiator = Initiator(context(Suite.HYBRID), PreShared(canary), FixedLink(canary))
    responder = Responder(context(Suite.HYBRID), PreShared(canary), FixedLink(canary))
    offer = initiator.offer()
    agreed = Agreed(context(Suite.HYBRID), (b"x",), canary)
    texts = [repr(thing) for thing in (initiator, responder, agreed, PreShared(canary), SIGNED[0], vars(initiator))]
    for broken in (lambda: responder.answer(offer[:-1]), lambda: initiator.finish(offer)):
        with pytest.raises(AgreementError) as caught:
            broken()
        texts += traceback.format_exception(caught.value)
    agreements = AgreedLinks(Suite.CLASSICAL, b"run")
    _, key = agreements.end("client").fresh("server", 32)
    texts += [repr(agreements), repr(agreements.end("client"))]
    for text in texts:
        for secret in (canary, key):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text


@each_suite
def test_agreements_as_a_source_of_keys(suite):
    links = AgreedLinks(suite, b"run", 0, SimulatedLinks().end if suite is Suite.HYBRID else None)
    client, server = links.end("client"), links.end("server")
    for sender, receiver, names in ((client, server, ("server", "client")), (server, client, ("client", "server"))):
        key_id, key = sender.fresh(names[0], 64)
        assert uuid.UUID(key_id).version == 4
        assert len(key) == 64
        with pytest.raises(KeyUnknownError):
            sender.by_id(names[1], key_id)
        assert receiver.by_id(names[1], key_id) == key
        with pytest.raises(KeyUnknownError):
            receiver.by_id(names[1], key_id)
    share = 16 if suite is Suite.HYBRID else 64
    assert links.exchanged_bytes == 2 * (2 + share + 1184 + 1088 + 2 * 3309 + 2 * 32)
    assert ("simulated" in client.label) == (suite is Suite.HYBRID)
    assert client.secret
    assert not hasattr(client, "raw")
