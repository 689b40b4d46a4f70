"""ETSI GS QKD 014 over real sockets: a third party's client unchanged, and everything that it never sends."""

import base64
import gzip
import json
import shutil
import ssl
import threading
from uuid import UUID

import pytest
from etsi_qkd_014_client import QKD014Client

from qfedfm.core.errors import KeyRefusedError, KeyServiceError, KeyShortageError, KeyUnknownError
from qfedfm.core.keys import KeySource
from qfedfm.qkd.kme.certificates import Authority
from qfedfm.qkd.kme.client import KmeClient
from tests.qkd.kmes import nobody, running

ENC, DEC = "/api/v1/keys/sae-b/enc_keys", "/api/v1/keys/sae-a/dec_keys"
UNKNOWN = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture(scope="module")
def kmes(tmp_path_factory):
    with running(tmp_path_factory.mktemp("kmes")) as found:
        found.filled()
        yield found


def third_party(kmes, sae, kme):
    paths = kmes.credentials(sae)
    return QKD014Client(kmes.place(kme), str(paths.certificate), str(paths.key), str(paths.ca))


def test_the_third_party_client(kmes):
    alice, bob = third_party(kmes, "sae-a", "kme-a"), third_party(kmes, "sae-b", "kme-b")
    code, status = alice.get_status("sae-b")
    assert code == 200
    assert (status.source_kme_id, status.target_kme_id) == ("kme-a", "kme-b")
    assert (status.master_sae_id, status.slave_sae_id) == ("sae-a", "sae-b")
    assert (status.key_size, status.min_key_size, status.max_key_size) == (256, 64, 8192)
    assert 0 < status.stored_key_count <= status.max_key_count
    code, first = alice.get_key("sae-b")
    assert (code, len(first.keys)) == (200, 1)
    assert len(base64.b64decode(first.keys[0].key)) == 32
    code, more = alice.get_key("sae-b", number=3, size=512, extension_optional=[{"colour": "red"}])
    assert (code, len(more.keys)) == (200, 3)
    assert {len(base64.b64decode(each.key)) for each in more.keys} == {64}
    keys = {each.key_id: each.key for each in [*first.keys, *more.keys]}
    code, found = bob.get_key_with_key_IDs("sae-a", list(keys))
    assert code == 200
    assert {each.key_id: each.key for each in found.keys} == keys
    assert len(set(keys.values())) == 4
    code, error = bob.get_key_with_key_IDs("sae-a", list(keys)[:1])
    assert (code, error.message) == (401, "one or more keys are not, or no longer, for this SAE")
    code, error = alice.get_key("sae-b", extension_mandatory=[{"abc_route_type": "direct"}])
    assert (code, error.message) == (400, "not all extension_mandatory parameters are supported")
    code, error = bob.get_status("nobody")
    assert code == 400


def test_our_client_is_a_source_of_keys(kmes):
    alice, bob = kmes.client("sae-a"), kmes.client("sae-b")
    assert isinstance(alice, KeySource)
    for master, slave, names in ((alice, bob, ("sae-a", "sae-b")), (bob, alice, ("sae-b", "sae-a"))):
        key_id, key = master.fresh(names[1], 48)
        assert len(key) == 48
        assert slave.by_id(names[0], key_id) == key
        with pytest.raises(KeyRefusedError):
            slave.by_id(names[0], key_id)
    with pytest.raises(KeyUnknownError):
        bob.by_id("sae-a", UNKNOWN)
    with pytest.raises(KeyServiceError, match="not known"):
        alice.fresh("nobody", 32)


def test_keys_say_that_they_are_simulated(kmes):
    label = "simulated, not QKD-secure"
    assert kmes.client("sae-a").status("sae-b").status_extension["label"] == label
    found = kmes.client("sae-a").enc_keys("sae-b")
    assert found.key_container_extension == {"label": label}
    asked = kmes.client("sae-b").dec_keys("sae-a", [str(found.keys[0].key_ID)])
    assert asked.key_container_extension == {"label": label}
    alice, bob = kmes.client("sae-a"), kmes.client("sae-b")
    assert label not in alice.label
    for _ in range(2):
        bob.by_id("sae-a", alice.fresh("sae-b", 32)[0])
    assert alice.label == bob.label == f"keys by ETSI GS QKD 014; {label}"


def test_get_with_number_and_size(kmes):
    code, found = kmes.ask("sae-a", "kme-a", "GET", f"{ENC}?number=2&size=72")
    assert code == 200
    assert [len(base64.b64decode(each["key"])) for each in found["keys"]] == [9, 9]
    ids = [each["key_ID"] for each in found["keys"]]
    code, asked = kmes.ask("sae-b", "kme-b", "GET", f"{DEC}?key_ID={ids[0].upper()}")
    assert (code, asked["keys"]) == (200, found["keys"][:1])
    code, asked = kmes.ask("sae-b", "kme-b", "POST", DEC, {"key_IDs": [{"key_ID": ids[1]}]})
    assert (code, asked["keys"]) == (200, found["keys"][1:])


def test_several_receivers_have_it_once_each(kmes):
    found = kmes.client("sae-a").enc_keys("sae-b", 2, 128, additional=["sae-b2"])
    ids = [str(each.key_ID) for each in found.keys]
    for sae in ("sae-b2", "sae-b"):
        assert kmes.client(sae).dec_keys("sae-a", ids).keys == found.keys
        with pytest.raises(KeyRefusedError):
            kmes.client(sae).dec_keys("sae-a", ids)


WRONG = {
    "size 12": ({"size": 12}, "size shall be a multiple of 8"),
    "size 0": ({"size": 0}, "size shall be from 64 to 8192"),
    "size 56": ({"size": 56}, "size shall be from 64 to 8192"),
    "size 8200": ({"size": 8200}, "size shall be from 64 to 8192"),
    "size negative": ({"size": -8}, "size shall be from 64 to 8192"),
    "size huge": ({"size": 10**30}, "size"),
    "size text": ({"size": "256"}, "size: Input should be a valid integer"),
    "size float": ({"size": 256.0}, "size: Input should be a valid integer"),
    "size true": ({"size": True}, "size: Input should be a valid integer"),
    "number 0": ({"number": 0}, "number shall be from 1 to 128"),
    "number 129": ({"number": 129}, "number shall be from 1 to 128"),
    "mandatory": ({"extension_mandatory": [{"x": 1}]}, "not all extension_mandatory parameters are supported"),
    "mandatory and size": (
        {"size": 12, "extension_mandatory": [{"x": 1}]},
        "not all extension_mandatory parameters are supported",
    ),
    "too many receivers": ({"additional_slave_SAE_IDs": [f"s{i}" for i in range(17)]}, "at most 16"),
    "a receiver twice": ({"additional_slave_SAE_IDs": ["sae-b"]}, "shall be different"),
    "an unknown receiver": ({"additional_slave_SAE_IDs": ["sae-x"]}, "not known"),
    "a receiver at home": ({"additional_slave_SAE_IDs": ["sae-a2"]}, "not known"),
    "a receiver that is no text": ({"additional_slave_SAE_IDs": [3]}, "additional_slave_SAE_IDs.0"),
    "a list": ([], "body"),
    "cut": ('{"number": 1', "Invalid JSON"),
    "empty": ("", "Invalid JSON"),
    "no unicode": (b'{"number": \xff}', "Invalid JSON"),
    "deep": ('{"extension_optional": ' + "[" * 50000 + "]" * 50000 + "}", "Invalid JSON"),
    "long": (json.dumps({"extension_optional": "x" * (1 << 17)}), "413"),
    "packed": (gzip.compress(b'{"number": 1}'), "Invalid JSON"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_request_that_is_wrong(kmes, name):
    body, message = WRONG[name]
    headers = {"Content-Encoding": "gzip"} if name == "packed" else {}
    before = kmes.client("sae-a").status("sae-b").stored_key_count
    code, found = kmes.ask("sae-a", "kme-a", "POST", ENC, body, headers)
    assert (code, message in found["message"]) == (400, True), found
    assert kmes.client("sae-a").status("sae-b").stored_key_count >= before


def test_the_mandatory_extensions_are_named(kmes):
    _, found = kmes.ask("sae-a", "kme-a", "POST", ENC, {"extension_mandatory": [{"route": 1}, {"colour": "red"}]})
    assert found["details"] == [{"extension_mandatory_unsupported": ["route", "colour"]}]
    for none in ({"extension_mandatory": []}, {"extension_optional": [{"route": 1}], "unknown": 3}):
        assert kmes.ask("sae-a", "kme-a", "POST", ENC, none)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/api/v1/keys/sae-x/status", None, 400),
        ("GET", "/api/v1/keys/sae-a/status", None, 400),
        ("GET", "/api/v1/keys/sae-a2/enc_keys", None, 400),
        ("GET", "/api/v1/keys/sae%2Db/status", None, 200),
        ("GET", "/api/v1/keys/kme-b/enc_keys", None, 400),
        ("GET", f"{ENC}?number=0", None, 400),
        ("GET", f"{ENC}?number=x", None, 400),
        ("GET", f"{ENC}?number=1&number=2", None, 400),
        ("GET", f"{ENC}?number=%D9%A1", None, 400),
        ("GET", f"{ENC}?size=9999999999", None, 400),
        ("GET", f"{ENC}?extension_mandatory=x", None, 400),
        ("GET", "/api/v1/keys/sae-b/dec_keys", None, 400),
        ("GET", "/api/v1/keys/sae-b/dec_keys?key_ID=1", None, 400),
        ("GET", f"/api/v1/keys/sae-b/dec_keys?key_ID={UNKNOWN}", None, 400),
        ("GET", f"/api/v1/keys/sae-b/dec_keys?key_ID={UNKNOWN}&key_ID={UNKNOWN}", None, 400),
        ("POST", "/api/v1/keys/sae-b/dec_keys", {"key_IDs": []}, 400),
        ("POST", "/api/v1/keys/sae-b/dec_keys", {"key_IDs": [{"key_ID": UNKNOWN}] * 1001}, 400),
        ("POST", "/api/v1/keys/sae-b/dec_keys", {"key_IDs": [{"key_ID": "x"}]}, 400),
        ("POST", "/api/v1/keys/sae-b/dec_keys", {}, 400),
        ("POST", "/api/v1/keys/sae-b/status", {}, 405),
        ("GET", "/api/v1/keys", None, 404),
        ("GET", "/api/v2/keys/sae-b/status", None, 404),
    ],
)
def test_a_path_that_is_wrong(kmes, method, path, body, code):
    status, found = kmes.ask("sae-a", "kme-a", method, path, body)
    assert status == code
    assert code == 200 or isinstance(found["message"], str)


def test_an_unknown_key_has_the_standards_message(kmes):
    _, found = kmes.ask("sae-b", "kme-b", "GET", f"{DEC}?key_ID={UNKNOWN}")
    assert found == {"message": "one or more keys specified are not found on KME"}


def test_only_who_may_have_it(kmes):
    """By the certificate alone: neither another's id in the URL nor a header helps, and a refusal costs no key."""
    key_id, key = kmes.client("sae-a").fresh("sae-b", 32)
    path = f"?key_ID={key_id}"
    headers = {"X-SSL-Client-CN": "sae-b", "X-Client-Cert": "CN=sae-b", "Authorization": "Basic c2FlLWI6"}
    for who, kme, url in (
        ("sae-b2", "kme-b", DEC),
        ("sae-b", "kme-b", "/api/v1/keys/sae-b/dec_keys"),
        ("sae-b", "kme-b", "/api/v1/keys/sae-a2/dec_keys"),
        ("sae-a", "kme-a", DEC),
        ("sae-a", "kme-b", DEC),
        ("sae-b", "kme-a", DEC),
        ("kme-a", "kme-b", DEC),
    ):
        code, found = kmes.ask(who, kme, "GET", url + path, headers=headers)
        assert (code, "keys" in found) == (401, False), (who, kme, url)
    assert kmes.client("sae-b").by_id("sae-a", key_id) == key


def test_a_certificate_of_nobody_who_is_served(kmes):
    """Of the right authority: another's name in it is as good as none."""
    folder = kmes.folder / "more"
    folder.mkdir(exist_ok=True)
    for file in ("ca.crt", "ca.key"):
        shutil.copy(kmes.folder / file, folder / file)
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    authority = Authority(folder, certificate, load_pem_private_key((folder / "ca.key").read_bytes(), None))
    stranger = authority.issue("sae-z")
    code, found = kmes.ask(None, "kme-a", "GET", f"{ENC}", context=stranger.client())
    assert (code, "no SAE" in found["message"]) == (401, True)


def test_without_a_certificate_nobody_gets_in(kmes, tmp_path):
    foreign = Authority.create(tmp_path).issue("sae-a")
    context = foreign.client()
    context.load_verify_locations(kmes.folder / "ca.crt")  # it believes the server; the server does not believe it
    for wrong in (context, nobody(kmes.folder / "ca.crt")):
        with pytest.raises(OSError, match=r".") as refused:
            kmes.ask(None, "kme-a", "GET", ENC, context=wrong)
        assert isinstance(refused.value, (ssl.SSLError, ConnectionError))
    with pytest.raises(KeyServiceError, match="CERTIFICATE_VERIFY_FAILED"):
        KmeClient(f"https://{kmes.place('kme-a')}", foreign).fresh("sae-b", 32)
    assert kmes.credentials("kme-a").server().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_the_certificate_is_asked_for_in_both_versions(kmes, version):
    for who, code in (("sae-a", 200), ("sae-b", 401)):
        context = kmes.credentials(who).client()
        context.maximum_version = context.minimum_version = ssl.TLSVersion[version]
        assert kmes.ask(None, "kme-a", "GET", "/api/v1/keys/sae-b/status", context=context)[0] == code


def test_an_application_cannot_pose_as_a_key_manager(kmes):
    feed = {"label": "mine", "units": [{"number": 10**6, "key": base64.b64encode(bytes(32)).decode()}]}
    for path, body in (("units", feed), ("alive", {"runs": []}), ("keys", {})):
        for who in ("sae-a", "sae-b", "kme-b"):
            assert kmes.ask(who, "kme-b", "POST", f"/peer/v1/{path}", body)[0] == 401
    held = kmes.managers["kme-b"].store.numbers("kme-a", False)
    assert 10**6 not in held


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("units", {"label": "x", "units": [{"number": 10**6, "key": "AAAA"}]}, 400),
        ("units", {"label": "x", "units": [{"number": 10**6, "key": "!" * 44}]}, 400),
        ("units", {"label": "x", "units": [{"number": -1, "key": "A" * 44}]}, 400),
        ("units", {"label": "x", "units": [{"number": 2**63, "key": "A" * 43 + "="}]}, 400),
        ("units", {"label": "x", "units": [{"number": 10**6 + i, "key": "A" * 43 + "="} for i in range(600)]}, 503),
        ("alive", {"runs": [[3]]}, 400),
        ("keys", {"master_SAE_ID": "sae-b", "slave_SAE_IDs": ["sae-b"], "size": 256, "keys": [[UNKNOWN, [1]]]}, 400),
        *(
            ("keys", {"master_SAE_ID": m, "slave_SAE_IDs": s, "size": 256, "keys": [{"key_ID": i, "units": u}]}, code)
            for m, s, i, u, code in (
                ("sae-b", ["sae-b"], UNKNOWN, [10**7], 400),
                ("sae-a", ["sae-x"], UNKNOWN, [10**7], 400),
                ("sae-a", ["sae-b", "sae-b"], UNKNOWN, [10**7], 400),
                ("sae-a", [], UNKNOWN, [10**7], 400),
                ("sae-a", ["sae-b"], UNKNOWN, [], 400),
                ("sae-a", ["sae-b"], UNKNOWN, [10**7], 401),
            )
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_peer_that_errs(kmes, path, body, code):
    assert kmes.ask("kme-a", "kme-b", "POST", f"/peer/v1/{path}", body)[0] == code
    assert kmes.ask("sae-b", "kme-b", "GET", f"{DEC}?key_ID={UNKNOWN}")[0] == 400


def test_many_at_once_in_both_directions(kmes):
    found, wrong = [], []

    def work(me, other):
        mine, theirs = kmes.client(me), kmes.client(other)
        for _ in range(6):
            try:
                key_id, key = mine.fresh(other, 32)
                found.append((key_id, key))
                wrong.extend([] if theirs.by_id(me, key_id) == key else [key_id])
            except KeyShortageError:
                wrong.append("shortage")

    pairs = [("sae-a", "sae-b"), ("sae-b", "sae-a"), ("sae-a2", "sae-b"), ("sae-b2", "sae-a")]
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len({UUID(key_id) for key_id, _ in found}) == len({key for _, key in found}) == 24
