"""Key agreements as a source of keys, for parties in one process: every message of every agreement really passes."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from qfedfm.core.errors import KeyUnknownError
from qfedfm.core.keys import KeyId, KeySource
from qfedfm.qkd.agreement import Context, Initiator, Responder, Suite
from qfedfm.qkd.credentials import Signatures

_LABELS = {
    Suite.CLASSICAL: "X25519 and ML-KEM-768",
    Suite.HYBRID: "ML-KEM-768 and a link that is {link}",
}


@dataclass
class AgreedLinks:
    """Ends whose keys come from an agreement each, signed with ML-DSA-65 under keys that the parties know already.

    Args:
        suite: what is combined.
        run: bytes that stand for the run.
        epoch: of the session.
        links: gives a party's source of QKD keys, for the hybrid suite.

    Raises:
        ConfigError: (in `fresh`) there are no links for the hybrid suite, or some for the classical one.

    Example:
        >>> links = AgreedLinks(Suite.CLASSICAL, b"run")
        >>> key_id, key = links.end("client").fresh("server", 32)
        >>> links.end("server").by_id("client", key_id) == key
        True
        >>> links.end("client").label
        'X25519 and ML-KEM-768'
    """

    suite: Suite
    run: bytes
    epoch: int = 0
    links: Callable[[str], KeySource] | None = None
    exchanged_bytes: int = 0
    """Of all messages so far."""
    made: int = 0
    """Agreements so far."""
    _signing: dict[str, MLDSA65PrivateKey] = field(default_factory=dict, repr=False)
    _waiting: dict[tuple[str, str, KeyId], bytes] = field(default_factory=dict, repr=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count, repr=False)

    def end(self, party: str) -> AgreedKeys:
        """The end of one party."""
        return AgreedKeys(self, party)

    def source(self, party: str) -> KeySource | None:
        """The party's end of the quantum link."""
        return None if self.links is None else self.links(party)

    def _credentials(self, party: str, peer: str) -> Signatures:
        for name in (party, peer):
            if name not in self._signing:
                self._signing[name] = MLDSA65PrivateKey.generate()
        return Signatures(self._signing[party], self._signing[peer].public_key())

    def agree(self, initiator: str, responder: str, size: int) -> tuple[KeyId, bytes]:
        """A new agreement; the key waits for the responder under an id of its own."""
        context = Context(self.suite, initiator, responder, self.run, self.epoch, next(self._numbers))
        ours = Initiator(context, self._credentials(initiator, responder), self.source(initiator))
        theirs = Responder(context, self._credentials(responder, initiator), self.source(responder))
        offer = ours.offer()
        answer = theirs.answer(offer)
        confirm, agreed = ours.finish(answer)
        key_id = str(uuid.uuid4())
        self._waiting[initiator, responder, key_id] = theirs.finish(confirm).key("seal", size)
        self.made += 1
        self.exchanged_bytes += len(offer) + len(answer) + len(confirm)
        return key_id, agreed.key("seal", size)

    def take(self, initiator: str, responder: str, key_id: KeyId) -> bytes:
        """The key that waits for the responder, which is then gone."""
        key = self._waiting.pop((initiator, responder, key_id), None)
        if key is None:
            raise KeyUnknownError(f"key {key_id} from {initiator} for {responder}", "one that was agreed on, once")
        return key


@dataclass(frozen=True)
class AgreedKeys:
    """One party's end of `AgreedLinks`: a `KeySource` whose keys are never raw."""

    agreements: AgreedLinks = field(repr=False)
    party: str

    @property
    def label(self) -> str:
        link = self.agreements.source(self.party)
        return _LABELS[self.agreements.suite].format(link="missing" if link is None else link.label)

    @property
    def secret(self) -> bool:
        return True

    def fresh(self, peer: str, size: int) -> tuple[KeyId, bytes]:
        return self.agreements.agree(self.party, peer, size)

    def by_id(self, peer: str, key_id: KeyId) -> bytes:
        return self.agreements.take(peer, self.party, key_id)
