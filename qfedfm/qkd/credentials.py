"""How the parties of a key agreement know whose a message is: by signatures, or by a key that they share already."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from qfedfm.core.errors import AgreementError, ConfigError

_DOMAIN = b"qfedfm key agreement 1"
_SHARED = 32


@runtime_checkable
class Credentials(Protocol):
    """One party's means to prove what it says to one peer, and to check what that peer says."""

    @property
    def size(self) -> int:
        """Bytes of a proof."""
        ...

    def prove(self, role: str, transcript: bytes) -> bytes:
        """A proof that ``transcript`` is said by the party in this role."""
        ...

    def check(self, role: str, transcript: bytes, proof: bytes) -> None:
        """Checks the peer's proof.

        Raises:
            AgreementError: it is not the peer's for this role and transcript.
        """
        ...


@dataclass(frozen=True)
class Signatures:
    """ML-DSA-65 (FIPS 204) under keys whose public halves the parties have of each other beforehand.

    Args:
        own: the party's signing key.
        peer: the other party's verification key, from where it is believed: a certificate, a visit.

    Example:
        >>> alice, bob = MLDSA65PrivateKey.generate(), MLDSA65PrivateKey.generate()
        >>> proof = Signatures(alice, bob.public_key()).prove("initiator", b"hello")
        >>> Signatures(bob, alice.public_key()).check("initiator", b"hello", proof)
    """

    own: MLDSA65PrivateKey = field(repr=False)
    peer: MLDSA65PublicKey = field(repr=False)

    @property
    def size(self) -> int:
        return 3309

    def prove(self, role: str, transcript: bytes) -> bytes:
        return self.own.sign(transcript, _context(role))

    def check(self, role: str, transcript: bytes, proof: bytes) -> None:
        try:
            self.peer.verify(proof, transcript, _context(role))
        except InvalidSignature:
            raise _unproven(role) from None


@dataclass(frozen=True)
class PreShared:
    """HMAC-SHA-256 under a key that both parties have beforehand; either of them could have made each proof.

    Args:
        key: at least 32 bytes, for this use only.

    Raises:
        ConfigError: a shorter key.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < _SHARED:
            raise ConfigError(f"a pre-shared key of {len(self.key)} bytes", f"at least {_SHARED}")

    @property
    def size(self) -> int:
        return 32

    def prove(self, role: str, transcript: bytes) -> bytes:
        said = _context(role)
        return hmac.digest(self.key, len(said).to_bytes(1, "big") + said + transcript, hashlib.sha256)

    def check(self, role: str, transcript: bytes, proof: bytes) -> None:
        if not hmac.compare_digest(self.prove(role, transcript), proof):
            raise _unproven(role)


def _context(role: str) -> bytes:
    return _DOMAIN + b" " + role.encode()


def _unproven(role: str) -> AgreementError:
    given = f"a message of a key agreement that is not proven to be the {role}'s"
    return AgreementError(given, "an unaltered message of the same agreement", "start a new agreement")
