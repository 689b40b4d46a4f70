"""Authentication of every classical message with one-time keys: Wegman and Carter's."""

from __future__ import annotations

import hmac
import struct

from qfedfm.core.errors import AuthenticationError, BudgetError
from qfedfm.qkd.channel import ALICE, BOB, Channel
from qfedfm.qkd.polynomial import collision_bound, compress, field_element, matrix_bytes, polynomial_hash

_NUMBER = struct.Struct("<Q")
_HEAD = struct.Struct("<BQH")
_TAG_BITS = 64
TAG_BYTES = _TAG_BITS // 8
"""Initial key that a message costs."""
OVERHEAD = _NUMBER.size + TAG_BYTES
"""Bytes that authentication adds to a message."""


class Pool:
    """Secret bytes that both parties hold before the run; each is used once.

    Args:
        secret: the bytes. Only their number is ever shown.

    Example:
        >>> pool = Pool(bytes(48))
        >>> len(pool.take(16)), pool.consumed, pool
        (16, 16, Pool(32 of 48 bytes left))
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.consumed = 0

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            BudgetError: there are not as many.
        """
        left = len(self._secret) - self.consumed
        if count > left:
            raise BudgetError(
                f"{count} bytes of initial key, {left} left",
                f"{TAG_BYTES} bytes a message and 40 a direction",
                "start with a longer key, or feed the pool from the keys that the link makes",
            )
        taken = self._secret[self.consumed : self.consumed + count]
        self.consumed += count
        return taken

    @property
    def rest(self) -> bytes:
        """What has not been used."""
        return self._secret[self.consumed :]

    def __repr__(self) -> str:
        return f"Pool({len(self._secret) - self.consumed} of {len(self._secret)} bytes left)"


class Lane:
    """One direction, as one of its ends sees it: seals messages, or opens them; both ends use the pool in step.

    Tag of message i: T hash_r(head ‖ kind ‖ body) ⊕ s_i, 64 bits. The point r and the matrix T (`compress`) are drawn
    from the pool once, s_i for each message, so that tags say nothing about r and T. The head holds the direction, i
    and the kind's length. Whatever an adversary does, it makes a forged message pass with probability at most
    `forgery_bound`.

    Args:
        sender: whose messages.
        pool: its own for each direction: a mask used twice would give r away.
    """

    def __init__(self, sender: str, pool: Pool) -> None:
        self._sender, self._pool = sender, pool
        self._point, self._matrix = field_element(pool.take), pool.take(matrix_bytes(_TAG_BITS))
        self._number = 0
        self._broken = False

    def seal(self, kind: str, body: bytes) -> bytes:
        """Number, body and tag.

        Raises:
            BudgetError: the pool is used up.
        """
        number = _NUMBER.pack(self._number)
        return number + body + self._tag(kind, body)

    def open(self, kind: str, arrived: bytes) -> bytes:
        """The body, if it is the one that was sent, in its place.

        Raises:
            AuthenticationError: it is not, or an earlier one was not: nothing passes any more.
            BudgetError: the pool is used up.
        """
        if self._broken:
            raise AuthenticationError(f"{kind!r} after a message that was not authentic", "a new run with new keys")
        self._broken = True
        if len(arrived) < OVERHEAD:
            raise self._refused(kind, f"{len(arrived)} bytes")
        (number,) = _NUMBER.unpack_from(arrived)
        if number != self._number:
            raise self._refused(kind, f"the number {number}")
        body, tag = arrived[_NUMBER.size : -TAG_BYTES], arrived[-TAG_BYTES:]
        if not hmac.compare_digest(self._tag(kind, body), tag):
            raise self._refused(kind, "a tag that does not fit")
        self._broken = False
        return body

    def _tag(self, kind: str, body: bytes) -> bytes:
        mask, name = self._pool.take(TAG_BYTES), kind.encode()
        head = _HEAD.pack(self._sender == BOB, self._number, len(name))
        self._number += 1
        tag = compress(polynomial_hash(head + name + body, self._point), self._matrix, _TAG_BITS)
        return bytes(a ^ b for a, b in zip(tag, mask, strict=True))

    def _refused(self, kind: str, found: str) -> AuthenticationError:
        return AuthenticationError(
            f"message {self._number} of {self._sender}, {kind!r}, arrived with {found}",
            "the one that was sent, in its place",
            "somebody alters, drops, repeats or forges messages: end the run and use none of its keys",
        )


def forgery_bound(size: int) -> float:
    """L/(2^127 − 1) + 2^−64 for a message whose kind and body have ``size`` bytes together."""
    return float(collision_bound(_HEAD.size + size) + 2.0**-_TAG_BITS)


class AuthenticatedChannel(Channel):
    """A channel on which every message is authenticated; after one that is not, nothing passes in its direction.

    Each party splits its initial key into a half for each direction. A message costs 8 bytes of it, a direction 40
    (once in 2^127 draws 16 more).

    Args:
        inner: carries the sealed messages; its transcript is this one's.
        alice: Alice's initial key.
        bob: Bob's, the same bytes.

    Raises:
        BudgetError: a key is shorter than 80 bytes.

    Example:
        >>> channel = AuthenticatedChannel(Channel(), bytes(range(96)), bytes(range(96)))
        >>> channel.send(ALICE, "hello", b"Bob"), channel.consumed
        (b'Bob', 704)
    """

    def __init__(self, inner: Channel, alice: bytes, bob: bytes) -> None:
        super().__init__(transcript=inner.transcript)
        self._inner = inner
        self._pools = {ALICE: self._split(alice), BOB: self._split(bob)}
        self._lanes = {
            (sender, end): Lane(sender, self._pools[end][sender]) for sender in (ALICE, BOB) for end in (ALICE, BOB)
        }
        self.forgery = 0.0
        """ε_auth so far: the sum of the messages' bounds."""

    @staticmethod
    def _split(secret: bytes) -> dict[str, Pool]:
        half = len(secret) // 2
        return {ALICE: Pool(secret[:half]), BOB: Pool(secret[half:])}

    def send(self, sender: str, kind: str, body: bytes, leaked: int = 0) -> bytes:
        """Seals, sends and opens.

        Raises:
            AuthenticationError: what arrives is not what was sent.
            BudgetError: the initial key is used up.
        """
        receiver = BOB if sender == ALICE else ALICE
        sealed = self._lanes[sender, sender].seal(kind, body)
        self.forgery += forgery_bound(len(kind.encode()) + len(body))
        return self._lanes[sender, receiver].open(kind, self._inner.send(sender, kind, sealed, leaked))

    @property
    def consumed(self) -> int:
        """Bits of initial key used so far, as Alice counts them."""
        return 8 * sum(pool.consumed for pool in self._pools[ALICE].values())

    def rest(self, party: str) -> bytes:
        """What is left of that party's initial key, for the next channel; this one must not be used any more."""
        return b"".join(self._pools[party][sender].rest for sender in (ALICE, BOB))
