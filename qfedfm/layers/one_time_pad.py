"""The seal whose secrecy depends on no computation: each bit is hidden by one bit of key that is used once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from qfedfm.core.errors import PayloadError
from qfedfm.core.keyring import ID, Keyring
from qfedfm.core.registry import part
from qfedfm.core.seals import Seal
from qfedfm.core.wire import Bytes
from qfedfm.qkd.extra import qkd

_TAG = 16
_HASH = 32
"""Bytes of key for the tag."""


@part("one-time-pad", paper="Vernam, 1926; Wegman & Carter, J. Comput. Syst. Sci. 22, 1981; Poly1305: RFC 8439, 2018")
@final
@dataclass(frozen=True)
class OneTimePad(Seal):
    """id ‖ C ‖ T with key = (k, p), C = body ⊕ p and T = Poly1305(k; |identity| ‖ identity ‖ C): 32 bytes more.

    Every message takes 32 bytes of key for its tag and as many as its body has, all of them used once. C says nothing
    but its length, and a tag is forged with probability at most 8⌈L/16⌉/2¹⁰⁶ for L authenticated bytes (Bernstein,
    2005, Theorem 3.3, without the cipher: the final addition takes fresh bits), whatever can be computed, **as long as
    the key is a link's own bits**. A key that was stretched from a shorter one would make this a slow stream cipher, so
    a source has to say that its keys are raw (`RawKeySource`), and other sources are refused.

    Raises:
        StackError: the source of keys does not say that its keys are raw.
        PayloadError: (in `open`) truncated, altered, of another identity, or opened before.

    Differs from the paper: Wegman and Carter hash with another family; Poly1305's key r has 106 free bits, and all 128
    bits of s are taken from the link.
    """

    overhead = ID + _TAG
    needs_raw = True

    def seal(self, body: Bytes, identity: bytes, keys: Keyring) -> Bytes:
        keys.require_raw(self.name)
        turn = keys.send(self.name, _HASH + len(body), 1)
        sealed = np.empty(self.overhead + len(body), np.uint8).data
        sealed[:ID] = turn.key_id
        hidden = sealed[ID : ID + len(body)]
        _xor(body, turn.key, hidden)
        sealed[ID + len(body) :] = _tag(turn.key, identity, hidden).finalize()
        return sealed

    def open(self, body: Bytes, identity: bytes, keys: Keyring) -> Bytes:
        keys.require_raw(self.name)
        if len(body) < self.overhead:
            raise PayloadError(f"a sealed body of {len(body)} bytes", f"at least {self.overhead}")
        view = memoryview(body)
        key_id, hidden, tag = bytes(view[:ID]), view[ID:-_TAG], bytes(view[-_TAG:])
        key = keys.receive(self.name, key_id, 0, _HASH + len(hidden))
        try:
            _tag(key, identity, hidden).verify(tag)
        except qkd("cryptography.exceptions").InvalidSignature:
            raise PayloadError("a sealed body that is not authentic", "one sealed for this place, unaltered") from None
        keys.accept(self.name, key_id, 0, last=True)
        return _xor(hidden, key, np.empty(len(hidden), np.uint8).data)

    def key_bytes(self, messages: int, largest: int) -> int:
        return messages * (_HASH + largest)


def _xor(body: Bytes, key: bytes, out: memoryview) -> memoryview:
    pad = np.frombuffer(key, np.uint8)[_HASH:]
    np.bitwise_xor(np.frombuffer(body, np.uint8), pad, out=np.frombuffer(out, np.uint8))
    return out


def _tag(key: bytes, identity: bytes, hidden: memoryview) -> Any:
    """The length in front tells where the identity ends, so that no other pair of both has the same bytes."""
    state = qkd("cryptography.hazmat.primitives.poly1305").Poly1305(key[:_HASH])
    state.update(len(identity).to_bytes(8, "little") + identity)
    state.update(hidden)
    return state
