"""What a client deals out about its two secrets, and the piece of them that each holder keeps.

The two secrets are the key of the self mask and the key of the escrow, under which the keys of the client's pair masks
are sealed. Holders are the client's neighbours and the client itself; holder number i has the share at point i ≥ 1.

A body of a `Kind.SHARES` message, for k neighbours in ascending order:

| bytes | field |
|---|---|
| 32 | commitment to the key of the self mask |
| 32k + 16 | the keys of the pair masks, sealed under the escrow key |
| 32k | commitments to the keys of the pair masks |
| 64(k + 1) | for each holder: commitments to its share of the self mask's key and of the escrow key |
| 112k | for each neighbour: its `Piece`, sealed under the key that the two share |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qfedfm.core.body import Reader
from qfedfm.core.errors import PayloadError
from qfedfm.qkd.entropy import Entropy
from qfedfm.secagg.agreement import TAG, Pair, mask_commitment, seal
from qfedfm.secagg.keystream import KEY
from qfedfm.secagg.shamir import SALT, commitment, fits, split

HASH = 32
REVEALED = KEY + SALT
"""Bytes that open one share: the share and its salt."""
SEALED = 2 * REVEALED + TAG
MASK, ESCROW = b"mask", b"escrow"
KINDS = (MASK, ESCROW)


@dataclass(frozen=True)
class Piece:
    """What a holder keeps of a client: for each of its two secrets a share and the salt of the commitment to it."""

    mask: bytes = field(repr=False)
    escrow: bytes = field(repr=False)

    def of(self, kind: bytes) -> bytes:
        """Share and salt of one secret."""
        return self.mask if kind == MASK else self.escrow

    @classmethod
    def read(cls, body: bytes) -> Piece:
        """From its 96 bytes."""
        return cls(body[:REVEALED], body[REVEALED:])


@dataclass(frozen=True)
class Dealt:
    """What the server knows of a client's secrets: commitments, and what only others can open.

    Args:
        mask: commitment to the key of the self mask.
        escrow: sealed keys of the pair masks.
        pairs: commitments to them, by neighbour.
        commitments: to the shares of the two secrets, by holder, 64 bytes.
        sealed: pieces, by neighbour.
    """

    mask: bytes
    escrow: bytes
    pairs: Mapping[int, bytes]
    commitments: Mapping[int, bytes]
    sealed: Mapping[int, bytes]

    def pack(self) -> bytes:
        """The body of the message."""
        parts = (self.pairs, self.commitments, self.sealed)
        return b"".join((self.mask, self.escrow, *(by_id[client] for by_id in parts for client in sorted(by_id))))

    @classmethod
    def read(cls, reader: Reader, owner: int, neighbours: tuple[int, ...]) -> Dealt:
        """What `pack` packed.

        Raises:
            PayloadError: another length.
        """
        mask, escrow = bytes(reader.take(HASH)), bytes(reader.take(KEY * len(neighbours) + TAG))
        pairs = {client: bytes(reader.take(HASH)) for client in neighbours}
        commitments = {client: bytes(reader.take(2 * HASH)) for client in holders(owner, neighbours)}
        sealed = {client: bytes(reader.take(SEALED)) for client in neighbours}
        reader.end()
        return cls(mask, escrow, pairs, commitments, sealed)

    @staticmethod
    def length(neighbours: int) -> int:
        """Bytes of the body."""
        return HASH + TAG + 2 * HASH + neighbours * (KEY + HASH + 2 * HASH + SEALED)


def holders(owner: int, neighbours: tuple[int, ...]) -> tuple[int, ...]:
    """Who has a share of a client's secrets, in the order of the points."""
    return tuple(sorted((*neighbours, owner)))


def deal(
    context: bytes, owner: int, pairs: Mapping[int, Pair], mask: bytes, threshold: int, entropy: Entropy
) -> tuple[Dealt, Piece]:
    """Shares both secrets among the holders.

    Args:
        context: hash of the round and of what all advertised.
        owner: the client.
        pairs: what it shares with each neighbour.
        mask: key of its self mask.
        threshold: shares that give a secret back.
        entropy: of the escrow key, the polynomials and the salts.

    Returns:
        What goes to the server, and the piece that the client keeps itself.
    """
    neighbours, key = tuple(sorted(pairs)), entropy.bytes(KEY)
    keepers = holders(owner, neighbours)
    shares = {kind: split(secret, len(keepers), threshold, entropy) for kind, secret in ((MASK, mask), (ESCROW, key))}
    pieces, commitments = {}, {}
    for place, holder in enumerate(keepers):
        opened = {kind: shares[kind][place] + entropy.bytes(SALT) for kind in KINDS}
        pieces[holder] = Piece(opened[MASK], opened[ESCROW])
        commitments[holder] = b"".join(_commitment(context, kind, owner, holder, opened[kind]) for kind in KINDS)
    seeds = b"".join(pairs[client].mask for client in neighbours)
    return (
        Dealt(
            mask_commitment(context, mask),
            seal(key, seeds, context + ESCROW),
            {client: pairs[client].committed(context) for client in neighbours},
            commitments,
            {
                client: seal(pairs[client].sending, pieces[client].mask + pieces[client].escrow, context)
                for client in neighbours
            },
        ),
        pieces[owner],
    )


def _commitment(context: bytes, kind: bytes, owner: int, holder: int, opened: bytes) -> bytes:
    return commitment(context + kind, owner, holder, opened[KEY:], opened[:KEY])


def check_share(context: bytes, kind: bytes, owner: int, holder: int, opened: bytes, committed: bytes) -> None:
    """Refuses a share that is not the one which its owner committed to.

    Args:
        context: of the round.
        kind: of the secret.
        owner: whose secret it is.
        holder: who keeps the share.
        opened: share and salt.
        committed: both commitments to the holder's shares, 64 bytes.

    Raises:
        PayloadError: it contradicts the commitment.
    """
    of_kind = committed[:HASH] if kind == MASK else committed[HASH:]
    if not fits(of_kind, context + kind, owner, holder, opened[KEY:], opened[:KEY]):
        given = f"a share of client {owner} at client {holder} that contradicts its commitment"
        raise PayloadError(given, "the share that was dealt")
