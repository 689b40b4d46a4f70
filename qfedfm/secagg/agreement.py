"""What two clients derive from the secrets that they share: a mask, and a key for each direction between them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qfedfm.core.errors import ConfigError, PayloadError

PUBLIC = 32
"""Bytes of a public value of X25519."""
TAG = 16
_PRIME = 2**255 - 19
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _PRIME - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)
"""Values of u on the curve or its twist whose order divides 8."""
_NONCE = bytes(12)
"""Every key of `seal` seals one message and no more."""


@dataclass(frozen=True)
class Pair:
    """What one client shares with another for one round.

    Args:
        mask: key of the mask between the two, the same at both.
        sending: key for what this client sends to the other.
        receiving: key for what it receives.
    """

    mask: bytes = field(repr=False)
    sending: bytes = field(repr=False)
    receiving: bytes = field(repr=False)

    def committed(self, context: bytes) -> bytes:
        """What both ends state about the mask's key; see `mask_commitment`."""
        return mask_commitment(context, self.mask)


def mask_commitment(context: bytes, key: bytes) -> bytes:
    """SHA-256 of a mask's key: all of its 256 bits are unknown, so that it needs no salt to hide it."""
    return hashlib.sha256(b"qfedfm mask commitment" + context + key).digest()


def pair(context: bytes, own: int, other: int, exchanged: bytes, given: bytes) -> Pair:
    """HKDF-SHA256 over the length-prefixed secrets, with the context and the two ids as info.

    Whoever lacks one of the two secrets knows nothing of the result (RFC 5869; concatenation as in NIST SP 800-56C).

    Args:
        context: hash of the round and of everything that all clients advertised, 32 bytes.
        own: id of this client.
        other: id of the other one.
        exchanged: secret of the key agreement, empty without one.
        given: key that both hold from elsewhere, such as a QKD link, empty without one.

    Raises:
        ConfigError: both are empty.

    Example:
        >>> one, other = pair(b"c", 1, 2, b"", b"k" * 32), pair(b"c", 2, 1, b"", b"k" * 32)
        >>> one.mask == other.mask, one.sending == other.receiving
        (True, True)
    """
    if not (exchanged or given):
        raise ConfigError(f"no secret between clients {own} and {other}", "a key agreement or a key of their link")
    secret = b"".join(len(part).to_bytes(4, "little") + part for part in (exchanged, given))
    low, high = sorted((own, other))
    info = b"qfedfm pair" + context + low.to_bytes(4, "little") + high.to_bytes(4, "little")
    derived = HKDF(SHA256(), 96, None, info).derive(secret)
    mask, up, down = derived[:32], derived[32:64], derived[64:]
    return Pair(mask, *((up, down) if own == low else (down, up)))


def exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    """The secret of X25519 (RFC 7748) with a public value that is not of `small_order`."""
    return private.exchange(X25519PublicKey.from_public_bytes(public))


def small_order(public: bytes) -> bool:
    """Whether a public value is one of the few with which X25519 gives the secret zero, whatever the private key.

    Points whose order divides 8, as u mod 2²⁵⁵ − 19 without the highest bit (Bernstein, cr.yp.to/ecdh.html; RFC 7748,
    section 6.1).

    Args:
        public: 32 bytes.

    Example:
        >>> small_order(bytes(32)), small_order((9).to_bytes(32, "little"))
        (True, False)
    """
    return int.from_bytes(public, "little") % 2**255 % _PRIME in _SMALL_ORDER


def seal(key: bytes, body: bytes, context: bytes) -> bytes:
    """AES-256-GCM under a key that seals nothing else, so that the nonce can be zero."""
    return AESGCM(key).encrypt(_NONCE, body, context)


def unseal(key: bytes, body: bytes, context: bytes, what: str) -> bytes:
    """What `seal` sealed.

    Raises:
        PayloadError: it was altered, or sealed under another key or context.
    """
    try:
        return AESGCM(key).decrypt(_NONCE, body, context)
    except InvalidTag:
        raise PayloadError(
            f"{what} that does not open", "one sealed in this round under the key that both hold"
        ) from None
