"""The messages of a round as bytes: a header, a body whose length is known beforehand, and the sender's signature.

| bytes | field | meaning |
|---|---|---|
| 0–3 | magic | ``QFSA`` |
| 4 | version | 1 |
| 5 | kind | `Kind` |
| 6–7 | reserved | zero |
| 8–19 | epoch, round, sender | four bytes each; the server is 2³²−1 |
| 20–27 | layout | `Layout.digest` |
| 28–59 | plan | `Plan.digest` |
| 60– | body | |
| | signature | over header and SHA-256 of the body; none from the server, whose words clients do not rely on |

All numbers are little-endian.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.secagg.identity import Identity, signature_length, verifies
from qfedfm.secagg.plan import Plan

_HEADER = struct.Struct("<4sBBHIII8s32s")
_MAGIC, _VERSION = b"QFSA", 1
OVERHEAD = _HEADER.size
"""Bytes of a message beside its body and its signature: 60."""
SERVER = 2**32 - 1


class Kind(IntEnum):
    """What a message is: five steps, each a message of the clients, four of them answered by the server."""

    ADVERT, SHARES, MASKED, CONSENT, REVEAL = range(5)
    ROSTER, DELIVERY, SURVIVORS, CONSENTS = range(8, 12)


def write(plan: Plan, kind: Kind, sender: int, body: bytes | memoryview, identity: Identity | None = None) -> bytes:
    """A message; signed where an identity is given."""
    head = _HEADER.pack(_MAGIC, _VERSION, kind, 0, plan.epoch, plan.round, sender, plan.layout, plan.digest)
    signature = b"" if identity is None else identity.sign(_signed(head, body))
    return b"".join((head, body, signature))


def _signed(head: bytes | memoryview, body: bytes | memoryview) -> bytes:
    return b"qfedfm secure aggregation" + bytes(head) + hashlib.sha256(body).digest()


def read(plan: Plan, kind: Kind, payload: bytes) -> Reader:
    """The body of a message of the server.

    Raises:
        PayloadError: it is shorter than a header, or another message (which, is said).
    """
    view = memoryview(payload)
    if len(view) < OVERHEAD:
        raise PayloadError(f"a message of {len(view)} bytes", f"at least {OVERHEAD}")
    _check(plan, kind, SERVER, view[:OVERHEAD])
    return Reader(view[OVERHEAD:])


def read_signed(plan: Plan, kind: Kind, sender: int, payload: bytes, length: int, public: bytes) -> memoryview:
    """The body of a client's message, without a copy.

    Args:
        plan: of the round.
        kind: that is waited for.
        sender: the client that it has to be from.
        payload: what arrived.
        length: of the body.
        public: key of the client's signatures.

    Raises:
        PayloadError: it has another length, is another message (which, is said), or is not signed by the client.
    """
    expected = OVERHEAD + length + signature_length(public)
    if len(payload) != expected:
        raise PayloadError(f"a message of {len(payload)} bytes from client {sender}", f"{expected}")
    view = memoryview(payload)
    head, body, signature = view[:OVERHEAD], view[OVERHEAD : OVERHEAD + length], view[OVERHEAD + length :]
    _check(plan, kind, sender, head)
    if not verifies(public, bytes(signature), _signed(head, body)):
        raise PayloadError(f"a message that client {sender} did not sign", "an unaltered message of this client")
    return body


def _check(plan: Plan, kind: Kind, sender: int, head: memoryview) -> None:
    magic, version, found, reserved, epoch, round_, author, layout, digest = _HEADER.unpack(head)
    if magic != _MAGIC or version != _VERSION or reserved:
        raise PayloadError(f"a message that starts with {bytes(head[:8])!r}", f"format version {_VERSION}")
    names = ("kind", "sender", "epoch", "round", "layout", "plan")
    given = (found, author, epoch, round_, layout.hex(), digest.hex())
    wanted = (int(kind), sender, plan.epoch, plan.round, plan.layout.hex(), plan.digest.hex())
    for name, one, other in zip(names, given, wanted, strict=True):
        if one != other:
            raise PayloadError(f"a message of {name} {one}", f"{name} {other}")


def pack_ids(ids: Iterable[int]) -> bytes:
    """Their number and the ids, four bytes each."""
    listed = list(ids)
    return struct.pack(f"<I{len(listed)}I", len(listed), *listed)


def read_ids(reader: Reader, allowed: Iterable[int]) -> tuple[int, ...]:
    """What `pack_ids` packed.

    Raises:
        PayloadError: they are not in ascending order, or one is not allowed.
    """
    known = set(allowed)
    count = int(reader.number("<u4"))
    if count > len(known):
        raise PayloadError(f"a list of {count} clients", f"at most {len(known)}")
    ids = tuple(reader.numbers("<u4", count).tolist())
    if list(ids) != sorted(set(ids)) or not known.issuperset(ids):
        raise PayloadError("a list with unknown clients, or out of order", "known ids in ascending order")
    return ids


def pack_messages(messages: Mapping[int, bytes]) -> bytes:
    """The ids of their senders, then the messages one after the other."""
    return pack_ids(sorted(messages)) + b"".join(messages[client] for client in sorted(messages))


def read_messages(
    reader: Reader, publics: Mapping[int, bytes], allowed: Iterable[int], length: int
) -> dict[int, bytes]:
    """What `pack_messages` packed: signed messages with bodies of one length. Their signatures are not looked at.

    Raises:
        PayloadError: an id is not allowed, or there are fewer or more bytes than they need.
    """
    found = {
        client: bytes(reader.take(OVERHEAD + length + signature_length(publics[client])))
        for client in read_ids(reader, allowed)
    }
    reader.end()
    return found
