"""Encryption at rest: a master key that the user keeps, and records that only it opens."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qfedfm.core.errors import ConfigError, KeyStoreError

VARIABLE = "QFEDFM_MASTER_KEY"
_BYTES, _NONCE = 32, 12


@dataclass(frozen=True)
class MasterKey:
    """The 256-bit key that opens a key store. It lies in a file of mode 600 or in the environment, never in the store.

    Args:
        secret: 32 bytes.

    Raises:
        ConfigError: not 32 bytes.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != _BYTES:
            raise ConfigError(
                f"a master key of {len(self.secret)} bytes", f"{_BYTES}", "make one with MasterKey.create"
            )

    @classmethod
    def create(cls, path: Path) -> MasterKey:
        """Writes a new master key into a file that only its owner can read.

        Raises:
            ConfigError: there is a file already; it may be the only thing that opens a store.
        """
        secret = os.urandom(_BYTES)
        write_private(path, secret.hex().encode() + b"\n")
        return cls(secret)

    @classmethod
    def load(cls, path: Path | None = None) -> MasterKey:
        """Reads 64 hexadecimal digits from a file, or from the variable QFEDFM_MASTER_KEY where no file is named.

        Raises:
            ConfigError: there are none, or others than the owner can read the file.
        """
        where = VARIABLE if path is None else str(path)
        text = os.environ.get(VARIABLE, "") if path is None else _private(path)
        if not re.fullmatch(r"[0-9A-Fa-f]{64}", text.strip()):
            raise ConfigError(f"{where} without a master key", "64 hexadecimal digits", "see `qfedfm kme certificates`")
        return cls(bytes.fromhex(text.strip()))


class Vault:
    """Seals records with AES-256-GCM under a key that HKDF derives for one store.

    The associated data names the record, so that one cannot stand in another's place. Nonces are 96 random bits: below
    2³² records a store the chance that two are equal is below 2⁻³³ (NIST SP 800-38D, 8.3).

    Args:
        master: opens the store.
        salt: random, of this store; no secret.

    Example:
        >>> vault = Vault(MasterKey(bytes(32)), b"salt")
        >>> vault.open(vault.seal(b"key", "unit", 1), "unit", 1)
        b'key'
    """

    def __init__(self, master: MasterKey, salt: bytes) -> None:
        derived = HKDF(SHA256(), _BYTES, salt, b"qfedfm key store, version 2").derive(master.secret)
        self._cipher = AESGCM(derived)

    def seal(self, secret: bytes, *record: str | int) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, secret, _named(record))

    def open(self, sealed: bytes, *record: str | int) -> bytes:
        """What was sealed under that name.

        Raises:
            KeyStoreError: with another master key or under another name, or it was altered.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _named(record))
        except (InvalidTag, ValueError):
            given = "a record of the key store that the master key does not open"
            raise KeyStoreError(given, "the master key of this store, and a file that nobody altered") from None


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file of mode 600.

    Raises:
        ConfigError: it is there already, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} is there already", "a new file", "keep it, or move it away first") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror})", "a folder of yours") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def shared(status: os.stat_result) -> bool:
    """Whether others than its owner may use a file; Windows does not say."""
    return bool(status.st_mode & 0o077) and sys.platform != "win32"


def _private(path: Path) -> str:
    """A short text from a file that only its owner can read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(4096)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})", "a file with a master key") from None
    if shared(status):
        raise ConfigError(f"{path} can be read by others", "a file of mode 600", f"chmod 600 {path}")
    return text.decode("ascii", errors="replace")


def _named(record: tuple[str | int, ...]) -> bytes:
    """A name that no other record has: JSON keeps texts, numbers and borders apart."""
    return json.dumps(record).encode()
