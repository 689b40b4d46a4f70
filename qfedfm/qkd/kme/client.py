"""A client of ETSI GS QKD 014: for this library's key service and for a vendor's box."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from qfedfm.core.errors import (
    ConfigError,
    KeyRefusedError,
    KeyServiceError,
    KeyShortageError,
    KeyUnknownError,
    PayloadError,
)
from qfedfm.core.keys import KeyId
from qfedfm.qkd.kme.messages import ANSWER, NOT_FOUND, Body, KeyContainer, Problem, Status, parsed
from qfedfm.qkd.kme.tls import Credentials

_Body = TypeVar("_Body", bound=Body)


@dataclass(frozen=True)
class KmeClient:
    """An application's (SAE's) side of the key service; a `KeySource` for parties that are applications.

    Every call opens a connection, over which both sides show their certificates. Proxies are not used.

    Args:
        url: ``https://host:port`` of the key manager, with a path before ``/api`` where it has one.
        credentials: of the application, and the authority of the key manager's certificate, which must name the host.
        timeout: seconds for a connection and for each part of an answer.
        about: what the box is; what it says itself of its keys is added to `label`.

    Raises:
        ConfigError: the url is no https address.
    """

    url: str
    credentials: Credentials
    timeout: float = 20.0
    about: str = "keys by ETSI GS QKD 014"
    secret: bool = True
    _said: dict[str, None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ConfigError(f"the key manager {self.url!r}", "https://host:port")

    @property
    def label(self) -> str:
        """What the box is, and what it has said of the keys that it gave; ours says that they are simulated."""
        return "; ".join((self.about, *self._said))

    def status(self, slave: str) -> Status:
        """What the key manager holds for keys with ``slave``; sizes in bits.

        Raises:
            KeyServiceError: it cannot be reached, refuses, or answers something else than the standard's.
        """
        return self._asked(Status, slave, "status", {}, None)

    def enc_keys(
        self,
        slave: str,
        number: int | None = None,
        size: int | None = None,
        additional: Sequence[str] = (),
        mandatory: Sequence[Mapping[str, Any]] = (),
        optional: Sequence[Mapping[str, Any]] = (),
    ) -> KeyContainer:
        """New keys, which each slave may have once. GET where number and size say all, POST otherwise.

        Args:
            slave: the other application.
            number: of keys; one where it is None.
            size: of each, in bits; the key manager's own where it is None.
            additional: further applications that may have them.
            mandatory: extensions that the key manager must know or refuse.
            optional: extensions that it may ignore.

        Raises:
            KeyShortageError: there are too few now.
            KeyServiceError: see `status`.
        """
        simple = {name: value for name, value in (("number", number), ("size", size)) if value is not None}
        lists = {
            "additional_slave_SAE_IDs": list(additional),
            "extension_mandatory": [dict(each) for each in mandatory],
            "extension_optional": [dict(each) for each in optional],
        }
        rest = {name: value for name, value in lists.items() if value}
        query, body = (simple, None) if not rest else ({}, {**simple, **rest})
        return self._asked(KeyContainer, slave, "enc_keys", query, body)

    def dec_keys(self, master: str, key_ids: Sequence[KeyId]) -> KeyContainer:
        """Keys that ``master`` has started and sent the ids of; one by GET, several by POST.

        Raises:
            KeyRefusedError: one was given already, or is not for this application.
            KeyServiceError: see `status`.
        """
        if len(key_ids) == 1:
            return self._asked(KeyContainer, master, "dec_keys", {"key_ID": key_ids[0]}, None)
        body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
        return self._asked(KeyContainer, master, "dec_keys", {}, body)

    def fresh(self, peer: str, size: int) -> tuple[KeyId, bytes]:
        """A new key of ``size`` bytes; see `KeySource`."""
        found = self.enc_keys(peer, 1, 8 * size)
        key_id, key = self._only(found, 8 * size)
        return key_id, key

    def by_id(self, peer: str, key_id: KeyId) -> bytes:
        """The key of that id; see `KeySource`."""
        found, key = self._only(self.dec_keys(peer, [key_id]), None)
        if found != key_id.lower():
            raise KeyServiceError("a key of another id than was asked for", key_id)
        return key

    def _only(self, container: KeyContainer, size: int | None) -> tuple[KeyId, bytes]:
        """The one key of an answer, of the size that was asked for; what the box says of it is noted."""
        said = container.key_container_extension
        if isinstance(said, dict) and isinstance(said.get("label"), str):
            self._said[" ".join(said["label"].split())[:200]] = None
        if len(container.keys) != 1:
            raise KeyServiceError(f"{len(container.keys)} keys from {self.url}", "one, as asked")
        key = container.keys[0].secret
        if size is not None and 8 * len(key) != size:
            raise KeyServiceError(f"a key of {8 * len(key)} bits from {self.url}", f"{size}, as asked")
        return str(container.keys[0].key_ID), key

    def _asked(
        self, kind: type[_Body], sae: str, what: str, query: Mapping[str, Any], body: Mapping[str, Any] | None
    ) -> _Body:
        """A message, or the error that the answer stands for."""
        path = f"{urlsplit(self.url).path.rstrip('/')}/api/v1/keys/{quote(sae, safe='')}/{what}"
        target = f"{path}?{urlencode(query)}" if query else path
        status, answer = self._exchanged(target, None if body is None else json.dumps(body).encode())
        if status != 200:
            raise _error(status, answer, self.url)
        try:
            return parsed(kind, answer)
        except PayloadError as error:
            given = f"an answer of {self.url} that is not the standard's ({error})"
            raise KeyServiceError(given, "ETSI GS QKD 014 V1.1.1") from None

    def _exchanged(self, target: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and body of one request."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=self.timeout, context=self.credentials.client()
        )
        headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
        try:
            connection.request("GET" if body is None else "POST", target, body, headers)
            with connection.getresponse() as response:
                answer = response.read(ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
            given = f"the key manager {self.url} does not answer ({reason or type(error).__name__})"
            remedy = "check the address, and that its certificate and yours are of authorities that each side trusts"
            raise KeyServiceError(given, "an answer over mutual TLS", remedy) from None
        finally:
            connection.close()
        if len(answer) > ANSWER:
            raise KeyServiceError(f"an answer of {self.url} of more than {ANSWER} bytes", "a shorter one")
        return response.status, answer


def _error(status: int, answer: bytes, url: str) -> KeyServiceError | KeyRefusedError | KeyShortageError:
    """What the standard's status and message mean here."""
    try:
        message = " ".join(parsed(Problem, answer).message.split())[:200]
    except PayloadError:
        message = "no message of the standard's"
    said = f"the key manager {url} refuses: {status}, {message}"
    if status == 503:
        return KeyShortageError(said, "", "wait until the link has made more keys, or look at its status")
    if status == 401:
        return KeyRefusedError(said, "a key for this application that it has not had")
    if message == NOT_FOUND:
        return KeyUnknownError(said, "an id that waits at this key manager")
    return KeyServiceError(said)


def client(url: str, certificate: Path, key: Path, ca: Path) -> KmeClient:
    """A client from the paths of PEM files."""
    return KmeClient(url, Credentials(certificate, key, ca))
