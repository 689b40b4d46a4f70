"""The settings file of a key manager."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from qfedfm.core.errors import ConfigError
from qfedfm.core.validation import explain
from qfedfm.qkd.kme.quantum import Quantum
from qfedfm.qkd.kme.tls import Credentials

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}")
"""Of an application: what a common name holds and a URL needs no code for."""
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")
"""Of a key manager, whose certificate also names it as a host."""
Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
Host = Annotated[str, StringConstraints(pattern=f"^{HOST.pattern}$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Peer(_Table):
    """A key manager at the other end of a link.

    Args:
        id: the common name of its certificate, which also names it as a host.
        url: where it listens, ``https://host:port``.
        saes: the applications that it serves.
        quantum: sessions that this end's units of the link come out of; without, the operating system's bits.
    """

    id: Host
    url: str
    saes: tuple[Name, ...] = Field(min_length=1)
    quantum: Quantum | None = None


class Settings(_Table):
    """A key manager.

    Args:
        id: the common name of its certificate.
        listen: ``host:port``; port 0 for any that is free.
        saes: the applications that it serves, by the common names of their certificates.
        certificate: with its private ``key`` and the authority ``ca`` of all parties; PEM files.
        store: the SQLite file.
        master_key: file of mode 600 with 64 hexadecimal digits; without it the variable QFEDFM_MASTER_KEY.
        peers: the other ends of its links.
        low_keys: when a link has too few keys: ``refuse`` with 503, or ``wait`` for ``patience`` seconds first.
        patience: seconds.
        rate: bits a second that each link makes in each direction, at most.
        capacity: units of 256 bits that wait at most in each direction.
        lifetime: seconds that a key waits for its receivers.
    """

    id: Host
    listen: str = "127.0.0.1:8443"
    saes: tuple[Name, ...] = Field(min_length=1)
    certificate: Path
    key: Path
    ca: Path
    store: Path
    master_key: Path | None = None
    peers: tuple[Peer, ...] = Field(min_length=1)
    low_keys: Literal["refuse", "wait"] = "refuse"
    patience: float = Field(5.0, gt=0, le=300)
    rate: float = Field(100_000.0, gt=0)
    capacity: int = Field(4096, ge=1, le=100_000)
    lifetime: float = Field(86400.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        names = [self.id, *self.saes, *(name for peer in self.peers for name in (peer.id, *peer.saes))]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"different names for all key managers and applications, not {', '.join(twice)} twice")
        for url in (f"https://{self.listen}", *(peer.url for peer in self.peers)):
            _address(url)
        return self

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Reads a TOML file; paths in it are seen from its folder.

        Raises:
            ConfigError: it cannot be read or is not valid.
        """
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{path} cannot be read ({reason})", "the settings of a key manager, in TOML") from None
        for name in ("certificate", "key", "ca", "store", "master_key"):
            if isinstance(given.get(name), str):
                given[name] = path.parent / given[name]
        return cls.of(given)

    @classmethod
    def of(cls, given: dict[str, Any]) -> Settings:
        """Validates settings.

        Raises:
            ConfigError: names the setting that is wrong.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise explain(error, cls, file="the settings of the key manager") from None

    @property
    def credentials(self) -> Credentials:
        """Its certificates."""
        return Credentials(self.certificate, self.key, self.ca)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return _address(f"https://{self.listen}")


def _address(url: str) -> tuple[str, int]:
    """Host and port of a URL that has nothing else."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "https" or not parts.hostname or port is None or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"https://host:port, not {url!r}")
    return parts.hostname, port
