"""Who a client is: a key pair for signatures, whose public half all parties know before the first round."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from qfedfm.core.errors import ConfigError

_ED25519_KEY, _ML_DSA_KEY = 32, 1952
SIGNATURE = {_ED25519_KEY: 64, _ML_DSA_KEY: 3309}
"""Length of a signature by that of the public key."""


@dataclass(frozen=True)
class Identity:
    """The private half. Ed25519 (RFC 8032), or ML-DSA-65 (FIPS 204) where signatures have to outlast quantum computers.

    Example:
        >>> identity = Identity.new()
        >>> verifies(identity.public, identity.sign(b"text"), b"text")
        True
    """

    _private: Ed25519PrivateKey | MLDSA65PrivateKey = field(repr=False)

    @classmethod
    def new(cls, scheme: str = "ed25519") -> Identity:
        """A fresh one, from the operating system.

        Args:
            scheme: ``ed25519`` or ``ml-dsa-65``.

        Raises:
            ConfigError: an unknown scheme.
        """
        if scheme == "ed25519":
            return cls(Ed25519PrivateKey.generate())
        if scheme == "ml-dsa-65":
            return cls(MLDSA65PrivateKey.generate())
        raise ConfigError(f"signatures by {scheme!r}", "ed25519 or ml-dsa-65")

    @property
    def public(self) -> bytes:
        """The public key, raw; its length tells the scheme."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """A signature."""
        return self._private.sign(message)


def signature_length(public: bytes) -> int:
    """Bytes of a signature under a public key.

    Raises:
        ConfigError: the key is of no known scheme.
    """
    if len(public) not in SIGNATURE:
        raise ConfigError(
            f"a public key of {len(public)} bytes", f"{_ED25519_KEY} (Ed25519) or {_ML_DSA_KEY} (ML-DSA-65)"
        )
    return SIGNATURE[len(public)]


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the owner of a public key signed a message; see `signature_length` for what is raised."""
    signature_length(public)
    known = Ed25519PublicKey if len(public) == _ED25519_KEY else MLDSA65PublicKey
    try:
        known.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
