"""Hostile servers, clients and wires."""

import hashlib
import traceback
from collections import Counter

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from scipy.stats import chi2

from qfedfm.core.errors import PayloadError, QfedfmError, RoundError
from qfedfm.core.key import Key
from qfedfm.qkd.entropy import Seeded
from qfedfm.secagg import agreement
from qfedfm.secagg import client as client_module
from qfedfm.secagg.graph import Regular
from qfedfm.secagg.keystream import add_masks
from qfedfm.secagg.messages import OVERHEAD, SERVER, Kind, pack_ids, pack_messages, write
from qfedfm.secagg.shamir import join
from qfedfm.secagg.shares import ESCROW, KINDS, MASK, Piece
from tests.secagg.parties import STEPS, Table, identity, plan_of, same

SIGNATURE = 64


def uniform(elements: np.ndarray) -> bool:
    """χ² of the bytes over 256 equal classes, at a level of 10⁻⁴ on both sides."""
    counts = np.bincount(np.frombuffer(elements.tobytes(), np.uint8), minlength=256)
    expected = elements.nbytes / 256
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return 1e-4 < chi2.cdf(statistic, 255) < 1 - 1e-4


def elements_of(message: bytes, plan) -> np.ndarray:
    return np.frombuffer(message[OVERHEAD:-SIGNATURE], plan.ring.dtype).copy()


def constant(plan, value: int) -> dict:
    return {client: (np.full(plan.length, value), 1) for client in plan.clients}


@pytest.mark.parametrize("value", [0, 1000])
def test_a_masked_input_looks_uniform(value):
    plan = plan_of(range(3), 20_000)
    table = Table(plan, inputs=constant(plan, value)).until("mask")
    sent = table.up("mask")
    assert not uniform(plan.ring.elements(constant(plan, value)[0][0]))
    for message in sent.values():
        assert uniform(elements_of(message, plan))


@pytest.mark.parametrize("value", [0, 1000])
def test_colluders_below_the_threshold_see_a_uniform_input_and_no_secret(value):
    """All that two of five clients know of a third is taken off, and their shares do not give its secrets."""
    plan = plan_of(range(5), 20_000, colluders=2)
    table = Table(plan, inputs=constant(plan, value)).until("mask")
    pairs = {colluder: table.clients[colluder]._pairs[0].mask for colluder in (3, 4)}
    own = table.clients[0]._mask
    view = elements_of(table.up("mask")[0], plan)
    add_masks(view, [], pairs.values())
    assert uniform(view)
    honest = {1, 2}
    left = view.copy()
    add_masks(left, [], [own])
    assert uniform(left)
    assert len(honest) + len(pairs) == 4
    shares = {colluder + 1: table.clients[colluder]._pieces[0].mask[:32] for colluder in (3, 4)}
    assert len(shares) < plan.threshold
    assert join(shares, 2) != own
    with pytest.raises(RoundError, match="2 shares"):
        join(shares, plan.threshold)


def test_taking_off_every_mask_leaves_the_input():
    """The check on the two tests above: with all keys of a client its input comes out."""
    plan = plan_of(range(4))
    table = Table(plan).until("mask")
    keys, own = {other: pair.mask for other, pair in table.clients[1]._pairs.items()}, table.clients[1]._mask
    view = elements_of(table.up("mask")[1], plan)
    add_masks(view, [keys[0]], [own, keys[2], keys[3]])
    q, weight = table.inputs[1]
    assert plan.ring.integers(view).tolist() == [*(q * weight).tolist(), weight]


@pytest.mark.parametrize("place", [0, 30, OVERHEAD, OVERHEAD + 5, -SIGNATURE - 1, -1])
@pytest.mark.parametrize("step", STEPS)
def test_an_altered_message_of_a_client_counts_as_none(step, place):
    table = Table(plan_of(range(5))).until(step)
    messages = table.up(step)
    altered = bytearray(messages[2])
    altered[place] ^= 1
    table.gone.add(2)
    opened = table.finish(step, {**messages, 2: bytes(altered)})
    assert 2 in table.server.refused
    assert (2 in opened.survivors) == (step in ("consent", "reveal"))
    assert same(opened, table.inputs)


@pytest.mark.parametrize("step", STEPS)
def test_a_message_of_another_client_round_layout_or_length_counts_as_none(step):
    base = {"clients": range(5)}
    changes = ({"round": 2}, {"epoch": 3}, {"layout": b"another_"}, {"run": "b"})
    others = [plan_of(**base, **change) for change in changes]
    words = ["round 2", "epoch 3", "layout", "plan"]
    for other, word in zip(others, words, strict=True):
        stray = Table(other).until(step).up(step)[2]
        table = Table(plan_of(**base)).until(step)
        messages = table.up(step)
        table.gone.add(2)
        assert same(table.finish(step, {**messages, 2: stray}), table.inputs)
        assert word in table.server.refused[2]
    table = Table(plan_of(**base)).until(step)
    messages = table.up(step)
    table.gone.add(2)
    assert same(table.finish(step, {**messages, 2: messages[1], 9: messages[0]}), table.inputs)
    assert "sender 1" in table.server.refused[2]
    assert 9 in table.server.refused
    for wrong in (b"", messages[2][:-1], messages[2] + b"\0"):
        table = Table(plan_of(**base)).until(step)
        messages = table.up(step)
        table.gone.add(2)
        table.finish(step, {**messages, 2: wrong})
        assert "bytes" in table.server.refused[2]


@pytest.mark.parametrize("step", STEPS[1:])
def test_an_altered_message_of_the_server_ends_the_round_for_the_client(step):
    table = Table(plan_of(range(4))).until(step)
    for place in (0, OVERHEAD, OVERHEAD + 4, -1):
        fresh = Table(plan_of(range(4))).until(step)
        altered = bytearray(fresh.down[1])
        altered[place] ^= 1
        with pytest.raises(QfedfmError):
            getattr(fresh.clients[1], step)(bytes(altered), *([*fresh.inputs[1]] if step == "mask" else []))
        with pytest.raises(RoundError, match="over"):
            fresh.clients[1].mask(fresh.down[1], *fresh.inputs[1])
        assert (fresh.clients[1]._pairs, fresh.clients[1]._pieces, fresh.clients[1]._mask) == ({}, {}, b"")
    for wrong in (b"", table.down[1][:-1], table.down[1] + b"\0"):
        fresh = Table(plan_of(range(4))).until(step)
        with pytest.raises(PayloadError):
            getattr(fresh.clients[1], step)(wrong, *([*fresh.inputs[1]] if step == "mask" else []))


def test_a_share_that_contradicts_its_commitment_is_refused_by_the_server():
    table = Table(plan_of(range(5))).until("reveal")
    piece = table.clients[3]._pieces[1]
    table.clients[3]._pieces[1] = Piece(bytes(48), piece.escrow)
    opened = table.answer("reveal", table.up("reveal"))
    assert "share of client 1 at client 3 that contradicts" in table.server.refused[3]
    assert same(opened, table.inputs)


def test_too_many_contradicting_shares_open_nothing():
    table = Table(plan_of(range(5), colluders=1)).until("reveal")
    for holder in (2, 3):
        table.clients[holder]._pieces[1] = Piece(bytes(48), bytes(48))
    with pytest.raises(RoundError, match="3 shares of the mask of client 0"):
        table.answer("reveal", table.up("reveal"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.decode())
def test_a_share_that_contradicts_its_commitment_is_refused_by_its_holder(kind, monkeypatch):
    """Client 1 deals client 3 another share than it commits to."""
    table = Table(plan_of(range(5))).until("share")
    honest = client_module.deal

    def dealing(context, owner, pairs, *rest):
        dealt, own = honest(context, owner, pairs, *rest)
        if owner == 1:
            committed = bytearray(dealt.commitments[3])
            committed[0 if kind == MASK else 32] ^= 1
            dealt.commitments[3] = bytes(committed)
        return dealt, own

    monkeypatch.setattr(client_module, "deal", dealing)
    table.answer("share", table.up("share"))
    with pytest.raises(PayloadError, match="share of client 1 at client 3 that contradicts"):
        table.clients[3].mask(table.down[3], *table.inputs[3])
    table.gone.add(3)
    assert same(table.finish("mask", table.up("mask")), table.inputs)


def test_a_client_whose_committed_secrets_are_others_is_named():
    """It commits to shares of one key, and to another key."""
    table = Table(plan_of(range(5))).until("mask")
    dealt = table.server._dealt[1]
    object.__setattr__(dealt, "mask", hashlib.sha256(b"another").digest())
    with pytest.raises(RoundError, match="client 1 that give another key"):
        table.finish("mask", table.up("mask"))
    table = Table(plan_of(range(5))).until("mask")
    dealt = table.server._dealt[1]
    object.__setattr__(dealt, "escrow", bytes(len(dealt.escrow)))
    table.gone.add(1)
    with pytest.raises(RoundError, match="escrow of client 1"):
        table.finish("mask", table.up("mask"))


def survivors(table: Table, ids) -> bytes:
    return write(table.plan, Kind.SURVIVORS, SERVER, pack_ids(ids))


def test_a_client_signs_one_set_of_survivors():
    table = Table(plan_of(range(5))).until("consent")
    client = table.clients[1]
    client.consent(survivors(table, (0, 1, 2, 3)))
    for ids in ((0, 1, 2, 4), (0, 1, 2, 3)):
        with pytest.raises(RoundError, match="second set of survivors"):
            client.consent(survivors(table, ids))
    assert client._pieces == {}


def test_two_sets_of_survivors_never_both_have_a_quorum():
    """The server shows half of the clients one set and half another: nobody reveals a share."""
    table = Table(plan_of(range(6))).until("consent")
    one, other = (0, 1, 2, 3, 4), (0, 1, 2, 3, 5)
    shown = {client: one if client in (0, 1, 4) else other for client in range(6)}
    signed = {client: table.clients[client].consent(survivors(table, ids)) for client, ids in shown.items()}
    for client in range(6):
        alike = {signer: message for signer, message in signed.items() if shown[signer] == shown[client]}
        mixed = {signer: message for signer, message in signed.items() if signer in shown[client]}
        consents = alike if client % 2 else mixed
        with pytest.raises(QfedfmError, match=r"signatures under|another set"):
            table.clients[client].reveal(write(table.plan, Kind.CONSENTS, SERVER, pack_messages(consents)))
        assert table.clients[client]._pieces == {}


@pytest.mark.parametrize(
    ("ids", "text"),
    [((1, 2), "at least 4"), ((0, 2, 3, 4), "without client 1"), ((0, 1, 2, 3, 9), "unknown"), ((1, 0, 2, 3), "order")],
    ids=["few", "without", "unknown", "order"],
)
def test_sets_of_survivors_that_a_client_does_not_sign(ids, text):
    table = Table(plan_of(range(5), colluders=1)).until("consent")
    with pytest.raises(QfedfmError, match=text):
        table.clients[1].consent(survivors(table, ids))


def test_never_both_kinds_of_share_for_one_client():
    """Each revealed share opens the commitment of exactly one kind, and there is no second message."""
    table = Table(plan_of(range(5))).until("mask")
    table.gone.add(4)
    for step in ("mask", "consent"):
        table.answer(step, table.up(step))
    context, seen = table.server._transcript.context, Counter()
    for holder, message in table.up("reveal").items():
        body = message[OVERHEAD:-SIGNATURE]
        for place, owner in enumerate(range(5)):
            opened, committed = body[48 * place : 48 * place + 48], table.server._dealt[owner].commitments[holder]
            fitting = [
                kind
                for kind, stated in ((MASK, committed[:32]), (ESCROW, committed[32:]))
                if _opens(context, kind, owner, holder, opened, stated)
            ]
            assert fitting == [ESCROW if owner == 4 else MASK]
            seen[owner] += 1
        with pytest.raises(RoundError):
            table.clients[holder].reveal(table.down[holder])
    assert seen == dict.fromkeys(range(5), 4)


def _opens(context, kind, owner, holder, opened, stated) -> bool:
    ids = owner.to_bytes(4, "little") + holder.to_bytes(4, "little")
    text = b"qfedfm share commitment" + context + kind + ids + opened[32:] + opened[:32]
    return hashlib.sha256(text).digest() == stated


def test_a_forged_roster_is_refused():
    """The server puts its own public value in the place of a client's, to read what is meant for that one."""
    table = Table(plan_of(range(4)))
    adverts = table.up("advertise")
    forged = write(table.plan, Kind.ADVERT, 2, bytes(64), identity(99))
    roster = write(table.plan, Kind.ROSTER, SERVER, pack_messages({**adverts, 2: forged}))
    with pytest.raises(PayloadError, match="client 2 did not sign"):
        table.clients[0].share(roster)
    fewer = write(table.plan, Kind.ROSTER, SERVER, pack_messages({client: adverts[client] for client in (1, 2)}))
    with pytest.raises(RoundError, match="at least 3"):
        Table(plan_of(range(4)), seed=1).until("share").clients[1].share(fewer)


def test_clients_that_see_other_rosters_have_no_keys_in_common():
    table = Table(plan_of(range(4)))
    adverts = table.up("advertise")

    def roster(ids):
        return write(table.plan, Kind.ROSTER, SERVER, pack_messages({client: adverts[client] for client in ids}))

    for client in range(4):
        table.clients[client].share(roster((0, 1, 2) if client == 0 else (0, 1, 2, 3)))
    assert table.clients[0]._pairs[1].mask != table.clients[1]._pairs[0].mask
    assert table.clients[1]._pairs[2].mask == table.clients[2]._pairs[1].mask


def test_an_advert_that_the_client_did_not_send_is_refused():
    """Signed by itself in another try of the same round, with another public value."""
    table, other = Table(plan_of(range(4))), Table(plan_of(range(4)), seed=2)
    messages = {**table.up("advertise"), 0: other.up("advertise")[0]}
    with pytest.raises(PayloadError, match="another one than"):
        table.clients[0].share(write(table.plan, Kind.ROSTER, SERVER, pack_messages(messages)))


def test_a_client_whose_shares_too_few_hold_refuses_the_survivors():
    plan = plan_of(range(40), graph=Regular(12, 2, 8), colluders=4)
    table = Table(plan).until("consent")
    gone = table.server._transcript.neighbours[0][:6]
    left = [client for client in plan.clients if client not in gone]
    assert len(left) > plan.survivors_needed
    with pytest.raises(RoundError, match="7 holders of client 0's shares survived"):
        table.clients[0].consent(survivors(table, left))


def test_a_signature_under_another_set_counts_as_none():
    table = Table(plan_of(range(5))).until("consent")
    messages = table.up("consent")
    messages[2] = write(table.plan, Kind.CONSENT, 2, bytes(32), identity(2))
    table.gone.add(2)
    assert same(table.finish("consent", messages), table.inputs)
    assert "another set" in table.server.refused[2]


def weak_advert(plan, client: int) -> bytes:
    return write(plan, Kind.ADVERT, client, bytes(64), identity(client))


def test_a_public_value_of_small_order_leaves_out_its_sender_alone():
    table = Table(plan_of(range(5)))
    messages = {**table.up("advertise"), 2: weak_advert(table.plan, 2)}
    table.gone.add(2)
    opened = table.finish("advertise", messages)
    assert opened.survivors == (0, 1, 3, 4)
    assert same(opened, table.inputs)
    assert table.server.refused == {2: "advertised a public value of small order"}


def test_clients_leave_it_out_where_the_server_does_not():
    table = Table(plan_of(range(5)))
    adverts = {**table.up("advertise"), 2: weak_advert(table.plan, 2)}
    roster = write(table.plan, Kind.ROSTER, SERVER, pack_messages(adverts))
    for client in (0, 1, 3, 4):
        table.clients[client].share(roster)
        assert set(table.clients[client]._pairs) == {0, 1, 3, 4} - {client}
    assert table.clients[0]._pairs[1].mask == table.clients[1]._pairs[0].mask


def test_what_is_of_small_order_gives_no_secret_with_any_key():
    """OpenSSL refuses exactly these."""
    prime = 2**255 - 19
    known = [*agreement._SMALL_ORDER, prime, prime + 1]
    random = [int.from_bytes(Seeded(Key.of(seed)).bytes(32), "little") % 2**255 for seed in range(50)]
    near = [2, 9, prime - 2, prime + 2, 2**255 - 1]
    for u in [*known, *near, *random]:
        for value in (u, u + 2**255):
            public = value.to_bytes(32, "little")
            assert agreement.small_order(public) == (u in known)
            try:
                X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(public))
            except ValueError:
                assert u in known
            else:
                assert u not in known


def test_an_input_that_is_masked_otherwise_gives_no_sum():
    """It cannot be seen which client lied; that no inputs within the plan have this sum, can."""
    table = Table(plan_of(range(5), 50)).until("mask")
    messages = table.up("mask")
    noise = np.frombuffer(Seeded(Key.of(4)).bytes(4 * 51), "<u4")
    messages[2] = write(table.plan, Kind.MASKED, 2, noise.tobytes(), identity(2))
    with pytest.raises(RoundError, match="masked otherwise"):
        table.finish("mask", messages)


def test_the_steps_of_the_server_have_an_order():
    table = Table(plan_of(range(3)))
    adverts = table.up("advertise")
    for call in (lambda: table.server.masked(0, b""), table.server.survivors, lambda: table.server.opened({})):
        with pytest.raises(RoundError, match="turn"):
            call()
    table.answer("advertise", adverts)
    with pytest.raises(RoundError, match="turn"):
        table.server.advertised(adverts)


def test_a_second_masked_input_is_not_added():
    table = Table(plan_of(range(3))).until("mask")
    messages = table.up("mask")
    table.server.masked(1, messages[1])
    table.server.masked(1, messages[1])
    assert "once" in table.server.refused[1]
    assert same(table.finish("mask", {0: messages[0], 2: messages[2]}), table.inputs)


def test_no_secret_shows_in_a_repr_or_an_error():
    """All keys of a seeded round are collected and searched for, as bytes, hex and numbers."""
    table, texts = Table(plan_of(range(4))), []
    secrets: set[bytes] = set()
    for step in STEPS[:-1]:
        table.answer(step, table.up(step))
        for client in table.clients.values():
            secrets |= {pair.mask for pair in client._pairs.values()} | {client._mask}
            secrets |= {pair.sending for pair in client._pairs.values()}
            secrets |= {piece.of(kind)[:32] for piece in client._pieces.values() for kind in KINDS}
            secrets |= {client._private.private_bytes_raw()} if client._private else set()
            texts += [repr(client), repr(client.plan), repr(list(client._pairs.values())), repr(client._pieces)]
    texts += [repr(table.server), repr(identity(0)), repr(table.server._dealt)]
    for act in (lambda: table.clients[0].reveal(b""), lambda: table.clients[0].consent(table.down[0])):
        try:
            act()
        except QfedfmError:
            texts.append(traceback.format_exc())
    secrets -= {b""}
    assert len(secrets) > 40
    for secret in secrets:
        shown = (repr(secret), secret.hex(), str(int.from_bytes(secret, "little")), str(list(secret)))
        assert not any(form in text for form in shown for text in texts)
