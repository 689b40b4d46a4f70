import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from qfedfm.core.errors import ConfigError
from qfedfm.secagg.keystream import BLOCK, Stream, add_masks

KEY = bytes(range(32))


def counters(key: bytes, count: int) -> bytes:
    """AES of the numbers 0, 1, 2 …, one block after the other: what the counter mode is made of."""
    blocks = b"".join(number.to_bytes(16, "big") for number in range(-(-count // 16)))
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(blocks)[:count]


@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
@pytest.mark.parametrize("length", [1, 3, BLOCK // 8, BLOCK // 4 + 1, 40_001])
def test_the_mask_is_the_ciphers_keystream_whatever_the_blocks(dtype, length):
    total = np.arange(length).astype(dtype)
    add_masks(total, [KEY])
    stream = np.frombuffer(counters(KEY, total.nbytes), dtype)
    np.testing.assert_array_equal(total, stream + np.arange(length).astype(dtype))
    add_masks(total, [], [KEY])
    np.testing.assert_array_equal(total, np.arange(length).astype(dtype))


def test_published_keystreams():
    """AES-256 of zeros under a key of zeros (NIST's AESAVS, appendix); RFC 8439, appendix A.1, first vector."""
    published = {
        Stream.AES: "dc95c078a2408989ad48a21492842087",
        Stream.CHACHA: "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
    }
    for stream, text in published.items():
        total = np.zeros(len(text) // 8, "<u4")
        add_masks(total, [bytes(32)], stream=stream)
        assert total.tobytes().hex() == text


@pytest.mark.parametrize("stream", Stream, ids=lambda stream: stream.value)
def test_a_key_has_its_full_width(stream):
    with pytest.raises(ConfigError, match=r"4 bytes.*32"):
        add_masks(np.zeros(2, "<u4"), [b"seed"], stream=stream)
    one, other = np.zeros(64, "<u4"), np.zeros(64, "<u4")
    add_masks(one, [KEY], stream=stream)
    add_masks(other, [KEY[:-1] + b"\0"], stream=stream)
    assert not (one == other).any()


def test_many_masks_at_once_are_those_one_by_one():
    keys = [bytes([number]) * 32 for number in range(7)]
    once, single = np.arange(BLOCK // 4 + 9).astype("<u4"), np.arange(BLOCK // 4 + 9).astype("<u4")
    add_masks(once, keys[:4], keys[4:])
    for number, key in enumerate(keys):
        stream = np.frombuffer(counters(key, single.nbytes), "<u4")
        single += stream if number < 4 else -stream
    np.testing.assert_array_equal(once, single)
