"""What `[security.link]` can name: protocols, and who listens in; each a chain of the quantum link's own."""

import dataclasses
import json
import math
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfedfm.core.errors import ConfigError, KeyShortageError
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.quantumlink import Eavesdropping, Fibres, QuantumLink, _Rounded
from qfedfm.qkd.attack import FITS
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.eavesdroppers import EntanglingProbe, InterceptResend
from qfedfm.qkd.finite import VariableLength
from qfedfm.qkd.ldpc import LDPC
from qfedfm.qkd.link import Link
from qfedfm.qkd.plans import P_Z
from qfedfm.qkd.proof import Reason
from qfedfm.qkd.session import Session
from qfedfm.qkd.sessions import SessionLinks
from qfedfm.qkd.sifting import MATCHING
from tests.engine.test_quantumlink import BUILD, LINK, security, stand_in
from tests.engine.test_security import play
from tests.engine.tiny import SETTINGS

ROOT = Path(__file__).parents[2]
SHORT = Link(efficiency=0.9, dark_counts=1e-6, misalignment=0.005)


@pytest.fixture(autouse=True)
def genie(monkeypatch):
    stand_in(monkeypatch)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "security").glob("*.toml")), ids=lambda path: path.stem)
def test_the_committed_scenario_is_what_it_was(path):
    """Its configuration has the digest of its results; its chain is BB84 with the sizes that the fields say."""
    experiment, results = Experiment.load(path), path.parent / "results" / path.stem / "results.json"
    assert experiment.digest == json.loads(results.read_text())["environment"]["config_hash"]
    link = experiment.security.link
    made = BUILD(link)
    assert made.session == Session(MATCHING, VariableLength(), _Rounded(LDPC()), errors_public=True)
    assert (made.plan.phase, made.pulses, made.link) == (BB84(0.7), 1_000_000, link.fibre())
    assert link.eavesdropper.build("bb84").eavesdropper == InterceptResend()


@given(st.floats(0.01, 1))
def test_a_share_means_what_it_did(share):
    probe = Eavesdropping(name="entangling-probe", share=share).build("bb84").eavesdropper
    assert isinstance(probe, EntanglingProbe)
    assert probe.angle == pytest.approx(share * math.pi / 2, rel=1e-9)
    assert Eavesdropping(share=share).build("e91").eavesdropper == InterceptResend(share)


@pytest.mark.parametrize(
    ("protocol", "pulses", "who", "reason"),
    [
        ("bb84", 100_000, "intercept-resend", Reason.ERRORS),
        ("decoy-bb84", 2_000_000, "intercept-resend", Reason.DECOY),
        ("bbm92", 3_000_000, "entangling-probe", Reason.ERRORS),
        ("e91", 16_000_000, "intercept-resend", Reason.CHSH),
    ],
    ids=["bb84", "decoy-bb84", "bbm92", "e91"],
)
def test_every_protocol_gives_keys_and_notices(protocol, pulses, who, reason, monkeypatch):
    monkeypatch.setattr(QuantumLink, "fibre", lambda self: SHORT)
    planned = {} if protocol == "e91" else {"p_z": "planned"}
    tap = Eavesdropping(name=who, from_round=2)
    fibres = Fibres(QuantumLink(protocol=protocol, pulses=pulses, eavesdropper=tap, **planned), round=1)
    quiet = fibres("client-0", "server", Channel())
    assert quiet.account.reason is None, quiet.account.detail
    assert len(quiet.alice) == quiet.account.bits > 0
    assert (quiet.alice == quiet.bob).all()
    fibres.round = 2
    assert fibres("client-0", "server", Channel()).account.reason is reason


def test_a_run_over_entangled_pairs_says_why_there_is_no_key(monkeypatch):
    monkeypatch.setattr(QuantumLink, "fibre", lambda self: SHORT)
    link = {"protocol": "bbm92", "pulses": 1_000_000, "eavesdropper": {"name": "man-in-the-middle", "clients": [1]}}
    _, states = play(1, security=security(link=link))
    record = states[-1].history[-1]
    assert record["participants"] == [0, 2, 3, 4, 5]
    (aborted,) = record["aborted"]
    assert (aborted["client"], aborted["reason"], aborted["qber"]) == (1, Reason.AUTHENTICATION.value, None)
    assert record["link_sessions"] == 6


def test_a_man_in_the_middle_stops_the_keys_for_as_long_as_he_stays():
    tap = Eavesdropping(name="man-in-the-middle", from_round=2)
    fibres = Fibres(QuantumLink(**LINK, store=512, eavesdropper=tap), round=1)
    links = SessionLinks(fibres, 512, between=fibres.between)
    client, server = links.end("client-0"), links.end("server")
    for round_ in (1, 2, 1):
        fibres.round = round_
        if round_ == 2:
            with pytest.raises(KeyShortageError, match="not authentic"):
                client.fresh("server", 64)
            continue
        key_id, key = client.fresh("server", 64)
        assert server.by_id("client-0", key_id) == key
    first, middle, last = (one.account for one in links.ran)
    assert first.net > 0 < last.net
    assert middle.reason is Reason.AUTHENTICATION
    assert middle.clicks > 0 == middle.bits


def test_splitting_photons_shows_in_the_decoys(monkeypatch):
    monkeypatch.setattr(QuantumLink, "fibre", lambda self: dataclasses.replace(SHORT, distance=50.0))
    tap = Eavesdropping(name="photon-number-splitting")
    link = QuantumLink(protocol="decoy-bb84", pulses=10_000_000, p_z="planned", eavesdropper=tap)
    assert Fibres(link, round=1)("client-0", "server", Channel()).account.reason is Reason.DECOY


def test_who_may_listen_is_who_fits_a_protocol_that_gives_keys():
    protocols = set(get_args(QuantumLink.model_fields["protocol"].annotation))
    listening = {name for name, fits in FITS.items() if protocols & set(fits)} - {"none"}
    assert set(get_args(Eavesdropping.model_fields["name"].annotation)) == listening


def test_a_planned_basis_promises_the_longest_key():
    given, planned = (
        BUILD(QuantumLink(protocol="bbm92", base="lab", pulses=10**9, p_z=p_z)) for p_z in (0.7, "planned")
    )
    assert given.plan.phase.p_z == 0.7
    assert planned.plan.phase.p_z in P_Z
    assert planned.promised.bits > given.promised.bits > 0


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ({"protocol": "b92"}, "security.link.protocol = 'b92'; expected a protocol that gives keys (the proof for two"),
        ({"protocol": "weak-bb84"}, "decoy-bb84 would show it"),
        ({"protocol": "bb48"}, "'bbm92'"),
        ({"protocol": "e91", "p_z": 0.6}, "equally likely"),
        ({"eavesdropper": {"name": "photon-number-splitting"}}, "not photon-number-splitting on bb84"),
        ({"protocol": "e91", "eavesdropper": {"name": "entangling-probe"}}, "not entangling-probe on e91"),
        ({"eavesdropper": {"name": "man-in-the-middle", "share": 0.5}}, "no share beside man-in-the-middle"),
    ],
    ids=["b92", "weak", "unknown", "e91", "splitting", "probe", "share"],
)
def test_links_that_are_refused_in_one_line(link, said):
    with pytest.raises(ConfigError) as error:
        Experiment.of({**SETTINGS, "security": {"keys": "qkd", "link": link}})
    assert said in str(error.value)
