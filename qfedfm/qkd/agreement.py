"""Two parties agree on a key of which both halves would have to be broken: a link's or X25519's, and ML-KEM's.

```
initiator → responder   offer   = version ‖ suite ‖ share ‖ ek ‖ proof
responder → initiator   answer  = share ‖ ct ‖ proof ‖ HMAC(K_responder, transcript)
initiator → responder   confirm = HMAC(K_initiator, transcript)
```

The shares are the id of a QKD key and nothing (hybrid), or two X25519 keys (classical). With s₁ the QKD key or the
X25519 secret, and s₂ the secret that ct carries for ek (ML-KEM-768, FIPS 203):

  K_purpose = HKDF-SHA-256(salt ∅; |s₁| ‖ s₁ ‖ |s₂| ‖ s₂; info = label ‖ SHA-256(fields)),
  fields = suite, initiator, responder, purpose, run, epoch, round, both shares, ek, ct, each after its length.

A proof is ML-DSA-65 or an HMAC under a pre-shared key over everything said so far and who is meant (`credentials`). The
last two tags show that both hold the same secrets: ML-KEM answers an altered ciphertext with another secret, silently,
and so does a link whose ends differ.

Sources: HKDF, RFC 5869; the combination by concatenation, ETSI TS 103 744 V1.1.1 (CatKDF) and NIST SP 800-56C r2;
proofs and tags as in SIGMA (Krawczyk, CRYPTO 2003).

Differs from the paper: the secrets carry their lengths; the hash of what was exchanged is in ``info``, not among the
secrets; the offer is proven, too, so that nobody else can make the responder take a key from the link.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import itertools
import uuid
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qfedfm.core.errors import AgreementError, ConfigError, KeyRefusedError
from qfedfm.core.keys import KeySource
from qfedfm.qkd.credentials import Credentials

_LABEL = b"qfedfm key agreement 1"
_VERSION = 1
_KEM_PUBLIC, _KEM_CIPHERTEXT, _TAG, _QKD = 1184, 1088, 32, 32
_LONGEST = 255 * 32
"""Bytes that HKDF-SHA-256 gives at most."""
_AGAIN = "start a new agreement"


class Suite(enum.Enum):
    """What the first of the two secrets is; the value is the byte in the offer."""

    HYBRID = 1
    """A key of a quantum link."""
    CLASSICAL = 2
    """X25519: the baseline without a link."""


_SHARES = {Suite.HYBRID: (16, 0), Suite.CLASSICAL: (32, 32)}
"""Bytes of the initiator's and of the responder's share."""


@dataclass(frozen=True)
class Context:
    """What both parties know before they start, and bind the key to.

    Args:
        suite: what is combined.
        initiator: name of the party that starts; also its name at the source of QKD keys.
        responder: name of the other.
        run: bytes that stand for the run.
        epoch: of the session.
        round: in which the key is agreed on.
    """

    suite: Suite
    initiator: str
    responder: str
    run: bytes
    epoch: int = 0
    round: int = 0

    def fields(self, purpose: str) -> tuple[bytes, ...]:
        """As bytes, with what a key is for."""
        names = (self.suite.name, self.initiator, self.responder, purpose)
        numbers = (self.epoch.to_bytes(4, "big"), self.round.to_bytes(4, "big"))
        return (*(name.encode() for name in names), self.run, *numbers)


@dataclass(frozen=True, eq=False)
class Agreed:
    """What both parties hold afterwards.

    Args:
        context: of the agreement.
        exchanged: both shares, ek and ct, as they travelled.
        secrets: s₁ and s₂ with their lengths.
    """

    context: Context
    exchanged: tuple[bytes, ...] = field(repr=False)
    secrets: bytes = field(repr=False)

    def key(self, purpose: str, size: int = 32) -> bytes:
        """The key for one purpose, such as a direction; different purposes give independent keys.

        Raises:
            ConfigError: more bytes than can be derived.
        """
        if not 1 <= size <= _LONGEST:
            raise ConfigError(f"a derived key of {size} bytes", f"1 to {_LONGEST}")
        bound = hashlib.sha256(joined(*self.context.fields(purpose), *self.exchanged)).digest()
        return HKDF(SHA256(), size, None, _LABEL + bound).derive(self.secrets)


def joined(*fields: bytes) -> bytes:
    """The fields, each after its length in four bytes, so that no other list gives the same bytes."""
    return b"".join(part for one in fields for part in (len(one).to_bytes(4, "big"), one))


class _Party:
    """What both roles have: who is meant, and how they prove what was said.

    Args:
        context: what both know beforehand.
        credentials: towards the other party.
        source: of QKD keys, for the hybrid suite.

    Raises:
        ConfigError: a source is missing or of no use.
    """

    def __init__(self, context: Context, credentials: Credentials, source: KeySource | None = None) -> None:
        if (source is None) == (context.suite is Suite.HYBRID):
            given = f"suite {context.suite.name} {'without' if source is None else 'with'} a source of QKD keys"
            raise ConfigError(given, "a source for HYBRID, and none for CLASSICAL")
        self._context, self._credentials, self._source = context, credentials, source
        self._head = bytes((_VERSION, context.suite.value))

    def _said(self, *messages: bytes) -> bytes:
        return joined(_LABEL, *self._context.fields("transcript"), *messages)


@dataclass(frozen=True, repr=False)
class _Offered:
    kem: MLKEM768PrivateKey
    curve: X25519PrivateKey | None
    linked: bytes
    share: bytes
    public: bytes
    message: bytes


class Initiator(_Party):
    """The party that starts: `offer`, then `finish` with the answer; for one agreement. See `_Party` for the arguments.

    Example:
        >>> import os
        >>> from qfedfm.qkd.credentials import PreShared
        >>> known, context = PreShared(os.urandom(32)), Context(Suite.CLASSICAL, "client", "server", b"run")
        >>> initiator, responder = Initiator(context, known), Responder(context, known)
        >>> confirm, ours = initiator.finish(responder.answer(initiator.offer()))
        >>> responder.finish(confirm).key("up") == ours.key("up")
        True
    """

    _offered: _Offered | None = None

    def offer(self) -> bytes:
        """The first message.

        Raises:
            KeyShortageError: the link has no key now.
            AgreementError: it was made already.
        """
        if self._offered is not None:
            raise AgreementError("a second offer of one agreement", "one", _AGAIN)
        kem, curve, linked = MLKEM768PrivateKey.generate(), None, b""
        if self._source is None:
            curve = X25519PrivateKey.generate()
            share = curve.public_key().public_bytes_raw()
        else:
            key_id, linked = self._source.fresh(self._context.responder, _QKD)
            share = uuid.UUID(key_id).bytes
        public = kem.public_key().public_bytes_raw()
        body = self._head + share + public
        message = body + self._credentials.prove("initiator", self._said(body))
        self._offered = _Offered(kem, curve, linked, share, public, message)
        return message

    def finish(self, answer: bytes) -> tuple[bytes, Agreed]:
        """The last message, and what was agreed on.

        Raises:
            AgreementError: the answer is not the responder's to this offer, or the secrets differ.
        """
        offered = self._offered
        if offered is None:
            raise AgreementError("an answer before the offer", "the offer first", _AGAIN)
        sizes = (_SHARES[self._context.suite][1], _KEM_CIPHERTEXT, self._credentials.size, _TAG)
        share, ciphertext, proof, tag = _split(answer, "an answer", *sizes)
        said = self._said(offered.message, share + ciphertext)
        self._credentials.check("responder", said, proof)
        first = offered.linked if offered.curve is None else _exchange(offered.curve, share)
        exchanged = (offered.share, share, offered.public, ciphertext)
        agreed = Agreed(self._context, exchanged, joined(first, offered.kem.decapsulate(ciphertext)))
        _confirm(agreed, "responder", said, tag)
        return _tag(agreed, "initiator", said), agreed


class Responder(_Party):
    """The party that answers: `answer`, then `finish` with the confirmation. See `_Party` for the arguments."""

    _answered: tuple[Agreed, bytes] | None = None

    def answer(self, offer: bytes) -> bytes:
        """The second message; nothing is taken from the link before the offer is proven.

        Raises:
            AgreementError: the offer is not the initiator's for this context, its QKD key is not to be had, or one was
                answered already.
        """
        if self._answered is not None:
            raise AgreementError("a second offer in one agreement", "one", _AGAIN)
        sizes = (len(self._head), _SHARES[self._context.suite][0], _KEM_PUBLIC, self._credentials.size)
        head, share, public, proof = _split(offer, "an offer", *sizes)
        if head != self._head:
            raise AgreementError(f"an offer of version and suite {tuple(head)}", f"{tuple(self._head)}", _AGAIN)
        self._credentials.check("initiator", self._said(head + share + public), proof)
        ours, first = self._first(share)
        try:
            second, ciphertext = MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        except ValueError:
            raise AgreementError("an offer whose ML-KEM key is none", "a valid one", _AGAIN) from None
        said = self._said(offer, ours + ciphertext)
        agreed = Agreed(self._context, (share, ours, public, ciphertext), joined(first, second))
        self._answered = agreed, said
        return ours + ciphertext + self._credentials.prove("responder", said) + _tag(agreed, "responder", said)

    def _first(self, share: bytes) -> tuple[bytes, bytes]:
        if self._source is None:
            curve = X25519PrivateKey.generate()
            return curve.public_key().public_bytes_raw(), _exchange(curve, share)
        try:
            return b"", self._source.by_id(self._context.initiator, str(uuid.UUID(bytes=share)))
        except KeyRefusedError as error:
            raise AgreementError(f"an offer with a QKD key that is not to be had ({error.given})", "", _AGAIN) from None

    def finish(self, confirm: bytes) -> Agreed:
        """What was agreed on, now that the initiator has shown that it holds the same.

        Raises:
            AgreementError: it has not, or there was no offer.
        """
        if self._answered is None:
            raise AgreementError("a confirmation before the offer", "the offer first", _AGAIN)
        agreed, said = self._answered
        _confirm(agreed, "initiator", said, confirm)
        return agreed


def _exchange(own: X25519PrivateKey, theirs: bytes) -> bytes:
    try:
        return own.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise AgreementError("an X25519 key of low order", "a valid one", _AGAIN) from None


def _tag(agreed: Agreed, role: str, transcript: bytes) -> bytes:
    return hmac.digest(agreed.key(f"confirmation by the {role}"), transcript, hashlib.sha256)


def _confirm(agreed: Agreed, role: str, transcript: bytes, tag: bytes) -> None:
    if not hmac.compare_digest(_tag(agreed, role, transcript), tag):
        raise AgreementError(f"a confirmation by the {role} that does not fit", "the same secrets at both ends", _AGAIN)


def _split(message: bytes, what: str, *sizes: int) -> list[bytes]:
    """The parts of a message, which has exactly their lengths."""
    if len(message) != sum(sizes):
        raise AgreementError(f"{what} of {len(message)} bytes", f"{sum(sizes)}", _AGAIN)
    stops = list(itertools.accumulate(sizes, initial=0))
    return [message[start:stop] for start, stop in itertools.pairwise(stops)]
