"""``qfedfm kme`` as a user types it: certificates, serving, status and keys."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def settings_on_any_port(folder):
    for path in folder.glob("*.toml"):
        text = path.read_text()
        path.write_text(re.sub(r'listen = "127.0.0.1:\d+"', 'listen = "127.0.0.1:0"', text))


def client(name, url):
    return ["--kme", url, "--certificate", f"keys/{name}.crt", "--key", f"keys/{name}.key", "--ca", "keys/ca.crt"]


def test_from_certificates_to_the_service(terminal, tmp_path):
    status, out, _ = terminal("kme", "certificates", "keys")
    assert (status, out) == (0, "Serve with: qfedfm kme serve keys/kme-a.toml keys/kme-b.toml\n")
    assert (tmp_path / "keys/sae-a.key").stat().st_mode & 0o777 == 0o600
    settings_on_any_port(tmp_path / "keys")
    command = [sys.executable, "-c", "from qfedfm.cli import main; main()", "kme", "serve"]
    command += ["keys/kme-a.toml", "keys/kme-b.toml"]
    told = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(command, cwd=tmp_path, env=told, stdout=subprocess.PIPE, text=True)
    try:
        lines = [server.stdout.readline() for _ in range(2)]
        urls = [re.fullmatch(r"kme-\w: (https://127.0.0.1:\d+), keys: simulated, not QKD-secure\n", x) for x in lines]
        status, out, _ = terminal("kme", "status", "sae-b", *client("sae-a", urls[0][1]))
        found = json.loads(out)
        assert (status, found["source_KME_ID"], found["slave_SAE_ID"]) == (0, "kme-a", "sae-b")
        assert found["stored_key_count"] == 0  # the peer's settings name another port: nothing is linked
        status, _, err = terminal("kme", "get", "sae-b", *client("sae-a", urls[0][1]), "--out", "mine.json")
        assert (status, "503, not enough keys are stored" in err, len(err.splitlines())) == (2, True, 1)
        status, _, err = terminal("kme", "status", "sae-a", *client("sae-a", urls[1][1]))
        assert (status, "no SAE that this KME serves" in err) == (2, True)
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        server.stdout.close()


def test_keys_for_two(terminal, tmp_path):
    from tests.qkd.kmes import running

    with running(tmp_path / "keys") as kmes:
        kmes.filled(8)
        alice, bob = (
            client(sae, f"https://{kmes.place(kme)}") for sae, kme in (("sae-a", "kme-a"), ("sae-b", "kme-b"))
        )
        status, out, _ = terminal("kme", "get", "sae-b", *alice, "--number", 2, "--size", 128, "--out", "a.json")
        ids = out.split()
        assert (status, len(ids)) == (0, 2)
        named = [word for key_id in ids for word in ("--id", key_id)]
        status, out, _ = terminal("kme", "get", "sae-a", *bob, *named, "--out", "b.json")
        assert (status, out.split()) == (0, ids)
        first, second = (json.loads(Path(name).read_text()) for name in ("a.json", "b.json"))
        assert first == second
        assert Path("a.json").stat().st_mode & 0o777 == 0o600
        assert not [key["key"] for key in first["keys"] if key["key"] in out]
        before = kmes.client("sae-a").status("sae-b").stored_key_count
        status, _, err = terminal("kme", "get", "sae-b", *alice, "--out", "a.json")
        assert (status, "a.json is there already" in err) == (2, True)
        assert kmes.client("sae-a").status("sae-b").stored_key_count >= before
        status, _, err = terminal("kme", "get", "sae-a", *bob, *named, "--out", "c.json")
        assert (status, "401" in err, Path("c.json").exists()) == (2, True, False)
        status, _, err = terminal("kme", "get", "sae-a", *bob, *named, "--size", 128, "--out", "d.json")
        assert (status, "--id with --number" in err, Path("d.json").exists()) == (2, True, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "none.toml"], "none.toml cannot be read"),
        (["certificates", "k", "--kme", "kme-a"], "NAME=SAE"),
        (["certificates", "k", "--kme", "kme-a=sae-a"], "at least two"),
        (["certificates", "k", "--kme", "kme-a=../x", "--kme", "kme-b=y"], "the name '../x'"),
        (
            ["status", "sae-b", "--kme", "localhost", "--certificate", "c", "--key", "k", "--ca", "a"],
            "https://host:port",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value[:2]),
)
def test_bad_words_are_one_line(terminal, words, said):
    status, _, err = terminal("kme", *words)
    assert (status, len(err.splitlines())) == (2, 1)
    assert said in err


def test_a_missing_package_is_named(terminal, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)  # what an import finds that is not there
    status, _, err = terminal("kme", "certificates", "keys")
    assert (status, 'pip install -c constraints.txt -e ".[qkd]"' in err) == (2, True)
