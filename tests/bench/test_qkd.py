"""The programs behind `qfedfm bench qkd`, at small sizes."""

import json
import sys

import numpy as np
import pytest

from qfedfm.bench.ours import key_service, photons, reconciliation, seals
from qfedfm.core.errors import ConfigError, PayloadError
from qfedfm.qkd.cascade import Cascade
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.ldpc import LDPC
from qfedfm.qkd.reconciliation import Reconciled


@pytest.fixture
def said(monkeypatch, capsys):
    """What a program answers."""

    def run(program, **options):
        monkeypatch.setattr(sys, "argv", [program.__name__, json.dumps(options)])
        program.main()
        return json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    return run


@pytest.mark.parametrize(("method", "frame"), [("cascade", 2000), ("ldpc", 4096)])
def test_reconciliation_is_measured_with_its_verification(said, method, frame):
    found = said(reconciliation, method=method, strings=[[frame, 0.03, 5]])
    assert found["environment"]["packages"]["numpy"] == np.__version__
    (line,) = found["lines"]
    assert (line["frame"], line["qber"], line["frames"], line["wrong"]) == (frame, 0.03, 5, 0)
    assert 1 < line["efficiency"] < 2
    assert line["mbits"] > 0
    if method == "cascade":  # whose questions go both ways
        tags = 50 / (frame * binary_entropy(0.03))
        assert line["both_ways"] - line["efficiency"] == pytest.approx(line["efficiency"] - tags, rel=1e-6)


@pytest.mark.parametrize(("method", "wrong"), [(Cascade(frame=100), 2), (LDPC(frame=100), 1)])
def test_what_was_told_counts_over_what_is_kept(monkeypatch, method, wrong):
    """Told 30, and 50 for the tag of each of four frames, one of which was dropped; q = .11, where h = ½ nearly."""
    alice = np.zeros(300, np.uint8)
    bob = alice.copy()
    bob[[5, 250]] = 1
    done = Reconciled(alice, bob, 30, 7, 4, 1)
    monkeypatch.setattr(type(method), "reconcile", lambda *given: done)
    found = reconciliation.measured(method, alice, bob, 0.1100278644, 100)
    assert found["efficiency"] == pytest.approx(230 / 150, rel=1e-6)
    assert found["both_ways"] == pytest.approx(237 / 150, rel=1e-6)
    assert (found["frames"], found["failed"], found["wrong"]) == (4, 1, wrong)


def test_strings_differ_as_often_as_they_should():
    alice, bob = reconciliation.strings(100_000, 0.05, np.random.default_rng(1))
    assert (alice != bob).mean() == pytest.approx(0.05, abs=0.004)
    assert alice.mean() == pytest.approx(0.5, abs=0.01)


def test_amplification_and_pulses_are_measured(said):
    found = said(photons, block=4096, lengths=[1024], pulses=20_000)
    assert list(found["amplified"]) == ["1024"]
    assert set(found["simulated"]) == set(photons.PROTOCOLS)
    assert min(*found["amplified"].values(), *found["simulated"].values()) > 0


def test_keys_that_differ_are_no_measurement(monkeypatch):
    monkeypatch.setattr(photons, "amplify", lambda alice, bob, *given: (alice, alice ^ 1))
    with pytest.raises(ConfigError, match="two keys of one string"):
        photons.amplification_seconds(64, 8)


def test_seals_take_turns_with_their_cipher(said, monkeypatch):
    """A tenth of the calls come before the clock counts."""
    found = said(seals, bodies=[100], calls=20)
    assert list(found["lines"]["100"]) == ["seal", "encrypt", "open", "decrypt"]
    assert min(found["lines"]["100"].values()) > 0
    played = []
    for name in ("seal_body", "open_body"):
        play = getattr(seals, name)
        monkeypatch.setattr(seals, name, lambda *given, name=name, play=play: (played.append(name), play(*given))[1])
    seals.seconds(100, 20)
    assert played == ["seal_body", "open_body"] * 23
    monkeypatch.setattr(seals, "open_body", lambda *given: b"something else")
    with pytest.raises(PayloadError, match="a body that was opened"):
        seals.seconds(100, 20)


def test_the_key_service_is_asked_in_turns_with_a_server_that_does_nothing(said):
    found = said(key_service, requests=3)
    assert set(found) == {"service", "server"}
    assert min(found.values()) > 0
