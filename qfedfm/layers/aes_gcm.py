"""The seal that encrypts and authenticates with AES-256 in Galois/Counter Mode."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np
import pydantic

from qfedfm.core.checks import check_fields
from qfedfm.core.errors import PayloadError
from qfedfm.core.keyring import ID, Keyring
from qfedfm.core.registry import part
from qfedfm.core.seals import Seal
from qfedfm.core.wire import Bytes
from qfedfm.qkd.extra import qkd

_NUMBER = struct.Struct(">Q")
_START = ID + _NUMBER.size
_TAG = 16
_KEY = 32
_LONGEST = 2**31 - 64
"""Bytes of a body: a little less than the cipher's library takes at once."""


@part("aes-gcm", paper="Dworkin, NIST SP 800-38D, 2007")
@final
@dataclass(frozen=True)
class AesGcm(Seal):
    """id of the key ‖ number n ‖ C ‖ T with (C, T) = AES-256-GCM(key; nonce 0³² ‖ n; body; identity): 40 bytes more.

    Client and server have a key for each direction, taken when its first message is sent and gone with the process: a
    run that is resumed has a new epoch and new keys. The nonce counts the messages under the key, so that none repeats
    however many there are (Section 8.2.1, deterministic construction); a copied keyring would repeat them, so there is
    none. The receiver takes numbers in ascending order, each once. The cipher writes into the place that the body
    travels from: nothing is copied for the seal.

    Confidentiality and authenticity are computational, whatever the key is from: a key from a quantum link makes them
    independent of the hardness of key agreement, not of AES. The length of a body is not hidden.

    Args:
        messages: under one key; 1 takes a fresh key for every message.

    Raises:
        PayloadError: (in `open`) truncated, altered, of another identity, replayed or out of order.

    Differs from the paper: no more than 2³² messages under a key, which the paper asks of random nonces only.

    Example:
        >>> from qfedfm.core.keyring import Keyring
        >>> from qfedfm.core.keys import SharedMemory
        >>> memory = SharedMemory()
        >>> client = Keyring(memory.end("client"), "server", b"run")
        >>> server = Keyring(memory.end("server"), "client", b"run")
        >>> sealed = AesGcm().seal(b"an update", b"where it belongs", client)
        >>> bytes(AesGcm().open(sealed, b"where it belongs", server))
        b'an update'
    """

    messages: Annotated[int, pydantic.Field(ge=1, le=2**32)] = 2**32

    overhead = _START + _TAG

    def __post_init__(self) -> None:
        check_fields(self)

    def seal(self, body: Bytes, identity: bytes, keys: Keyring) -> Bytes:
        if len(body) > _LONGEST:
            raise PayloadError(f"a body of {len(body)} bytes to seal", f"at most {_LONGEST}", "choose a smaller codec")
        turn = keys.send(self.name, _KEY, self.messages, make=_cipher)
        number = _NUMBER.pack(turn.number)
        sealed = np.empty(self.overhead + len(body), np.uint8).data  # which is not filled with zeros first
        sealed[:_START] = turn.key_id + number
        turn.key.encrypt_into(_nonce(number), body, identity, sealed[_START:])
        return sealed

    def open(self, body: Bytes, identity: bytes, keys: Keyring) -> Bytes:
        if not self.overhead <= len(body) <= self.overhead + _LONGEST:
            raise PayloadError(f"a sealed body of {len(body)} bytes", f"{self.overhead} to {self.overhead + _LONGEST}")
        view = memoryview(body)
        key_id, packed = bytes(view[:ID]), bytes(view[ID:_START])
        (number,) = _NUMBER.unpack(packed)
        if number >= self.messages:
            raise PayloadError(f"message {number} under a key", f"at most {self.messages} messages under one")
        cipher = keys.receive(self.name, key_id, number, _KEY, make=_cipher)
        try:
            opened: bytes = cipher.decrypt(_nonce(packed), view[_START:], identity)
        except qkd("cryptography.exceptions").InvalidTag:
            raise PayloadError("a sealed body that is not authentic", "one sealed for this place, unaltered") from None
        keys.accept(self.name, key_id, number, last=number + 1 == self.messages)
        return opened

    def key_bytes(self, messages: int, largest: int) -> int:
        return _KEY * -(-messages // self.messages)


def _cipher(key: bytes) -> Any:
    return qkd("cryptography.hazmat.primitives.ciphers.aead").AESGCM(key)


def _nonce(number: bytes) -> bytes:
    return bytes(4) + number
