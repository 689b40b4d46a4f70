import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.secagg.agreement import mask_commitment, pair, seal, unseal
from qfedfm.secagg.identity import Identity, signature_length, verifies
from qfedfm.secagg.server import Server
from tests.secagg.parties import plan_of, publics


def test_signatures_are_those_of_the_standard():
    """RFC 8032, section 7.1, second test."""
    private = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    identity = Identity(Ed25519PrivateKey.from_private_bytes(private))
    assert identity.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert identity.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


@pytest.mark.parametrize("scheme", ["ed25519", "ml-dsa-65"])
def test_a_signature_is_of_its_message_and_its_key(scheme):
    one, other = Identity.new(scheme), Identity.new(scheme)
    signature = one.sign(b"text")
    assert len(signature) == signature_length(one.public)
    assert verifies(one.public, signature, b"text")
    assert not verifies(one.public, signature, b"texts")
    assert not verifies(other.public, signature, b"text")
    assert not verifies(one.public, bytes([signature[0] ^ 1]) + signature[1:], b"text")


def test_refuses_unknown_schemes_and_missing_keys():
    with pytest.raises(ConfigError, match="ed25519 or ml-dsa-65"):
        Identity.new("rsa")
    with pytest.raises(ConfigError, match="public key of 31 bytes"):
        signature_length(bytes(31))
    with pytest.raises(ConfigError, match="public keys of 2 clients"):
        Server(plan_of(range(3)), publics(range(2)))


def test_either_secret_alone_does_not_give_the_keys_of_a_pair():
    context, exchanged, given = b"c" * 32, b"e" * 32, b"g" * 32
    both = pair(context, 1, 2, exchanged, given)
    others = [
        pair(context, 1, 2, exchanged, b""),
        pair(context, 1, 2, b"", given),
        pair(context, 1, 2, b"", exchanged + given),
        pair(context, 1, 2, exchanged + given[:1], given[1:]),
        pair(context, 1, 2, given, exchanged),
        pair(context, 1, 3, exchanged, given),
        pair(b"d" * 32, 1, 2, exchanged, given),
    ]
    keys = [key for one in (both, *others) for key in (one.mask, one.sending, one.receiving)]
    assert len(set(keys)) == len(keys)
    assert pair(context, 2, 1, exchanged, given).mask == both.mask
    with pytest.raises(ConfigError, match="no secret between clients 1 and 2"):
        pair(context, 1, 2, b"", b"")


def test_what_is_sealed_opens_with_its_key_and_context_only():
    sealed = seal(b"k" * 32, b"body", b"c")
    assert unseal(b"k" * 32, sealed, b"c", "a body") == b"body"
    for key, body, context in ((b"l" * 32, sealed, b"c"), (b"k" * 32, sealed, b"d"), (b"k" * 32, b"\0" * 20, b"c")):
        with pytest.raises(PayloadError, match="a body that does not open"):
            unseal(key, body, context, "a body")
    assert mask_commitment(b"c", b"k") != mask_commitment(b"d", b"k")
