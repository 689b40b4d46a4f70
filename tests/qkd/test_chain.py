"""From photons to keys, with everybody in between."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.qkd.attack import FITS, attack, flip
from qfedfm.qkd.chain import MOST, PROTOCOLS, TWO_BASES, authenticated, chain
from qfedfm.qkd.channel import ALICE, Channel
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.link import Link, named
from qfedfm.qkd.plans import P_Z
from qfedfm.qkd.proof import Reason
from qfedfm.qkd.sifting import EKERT
from qfedfm.qkd.telling import Telling

SHORT = Link(efficiency=0.9, dark_counts=1e-6, misalignment=0.005)
NEAR = replace(SHORT, distance=10.0)


def run(protocol, pulses, link=NEAR, who="none", reconciliation="cascade", seed=1, **options):
    made = chain(protocol, pulses, link, reconciliation, **options)
    return made, made.run(attack(who, protocol), Seeded(Key.of(seed)))


@pytest.mark.parametrize(
    ("protocol", "pulses", "link", "reconciliation", "variable"),
    [
        ("bb84", 200_000, NEAR, "cascade", False),
        ("bb84", 200_000, NEAR, "ldpc", False),
        ("bb84", 200_000, NEAR, "cascade", True),
        ("decoy-bb84", 2_000_000, SHORT, "cascade", False),
        ("decoy-bb84", 2_000_000, SHORT, "cascade", True),
        ("bbm92", 3_000_000, SHORT, "cascade", False),
        ("bbm92", 3_000_000, SHORT, "cascade", True),
        ("e91", 16_000_000, SHORT, "ldpc", False),
    ],
    ids=["bb84", "ldpc", "bb84-variable", "decoys", "decoys-variable", "bbm92", "bbm92-variable", "e91"],
)
def test_two_equal_keys_that_pay_for_their_tags(protocol, pulses, link, reconciliation, variable):
    made, done = run(protocol, pulses, link, reconciliation=reconciliation, variable=variable)
    account = done.account
    assert account.reason is None, account.detail
    assert len(done.alice) == len(done.bob) == account.bits
    assert (done.alice == done.bob).all()
    assert abs(done.alice.mean() - 0.5) < 2.5 / np.sqrt(account.bits)
    assert 0 < account.net < account.bits
    assert account.leaked <= made.plan.leak or variable
    assert account.epsilon.total < 2e-10
    assert account.bits / pulses < made.plan.asymptotic
    if protocol in ("bb84", "bbm92") and not variable:
        assert account.bits == made.promised.bits


@pytest.mark.parametrize("protocol", ["b92", "weak-bb84"])
def test_no_proof_no_key(protocol):
    _, done = run(protocol, 100_000)
    assert done.account.reason is Reason.NO_PROOF
    assert len(done.alice) == len(done.bob) == 0
    assert done.account.seen.test > 100


def test_honest_runs_are_hardly_ever_aborted():
    for seed in range(25):
        _, done = run("bb84", 60_000, seed=seed)
        assert done.account.reason is None, (seed, done.account.detail)


@pytest.mark.parametrize(
    ("protocol", "pulses", "who", "reason"),
    [
        ("bb84", 100_000, "intercept-resend", Reason.ERRORS),
        ("bb84", 100_000, "intercept-resend:0.15", Reason.ERRORS),
        ("bb84", 100_000, "entangling-probe", Reason.ERRORS),
        ("bbm92", 1_000_000, "intercept-resend", Reason.ERRORS),
        ("bbm92", 1_000_000, "entangling-probe:0.2", Reason.ERRORS),
        ("e91", 1_000_000, "intercept-resend", Reason.CHSH),
        ("decoy-bb84", 1_000_000, "intercept-resend", Reason.DECOY),
        ("weak-bb84", 100_000, "photon-number-splitting", Reason.NO_PROOF),
        ("b92", 100_000, "unambiguous-discrimination", Reason.NO_PROOF),
        *((protocol, 100_000, "man-in-the-middle", Reason.AUTHENTICATION) for protocol in PROTOCOLS),
    ],
)
def test_whoever_listens_is_noticed(protocol, pulses, who, reason):
    _, done = run(protocol, pulses, SHORT, who)
    assert done.account.reason is reason, done.account.detail
    assert len(done.alice) == len(done.bob) == 0
    assert done.account.net < 0


def test_photon_number_splitting_leaves_the_error_rate_and_shows_in_the_decoys():
    link = replace(SHORT, distance=50.0)
    _, quiet = run("decoy-bb84", 10_000_000, link)
    made, heard = run("decoy-bb84", 10_000_000, link, "photon-number-splitting")
    assert quiet.account.reason is None
    assert heard.account.reason is Reason.DECOY
    assert heard.account.qber == pytest.approx(quiet.account.qber, abs=0.004)
    splitter = attack("photon-number-splitting", "decoy-bb84").eavesdropper
    truth = made.plan.phase.exchange(1_000_000, link, splitter, Seeded(Key.of(1))).truth
    assert truth["eve_correct"] > 0.9


@pytest.mark.parametrize("share", [0.02, 0.08])
def test_what_a_cautious_eavesdropper_learns_is_taken_from_the_key(share):
    made, done = run("bb84", 400_000, NEAR, f"intercept-resend:{share}", variable=True)
    _, quiet = run("bb84", 400_000, NEAR, variable=True)
    account = done.account
    who = attack(f"intercept-resend:{share}", "bb84").eavesdropper
    truth = made.plan.phase.exchange(400_000, NEAR, who, Seeded(Key.of(7))).truth
    learned = truth["eve_information"] * account.seen.key
    assert account.reason is None
    assert learned > 0.8 * share / 2 * account.seen.key
    assert account.bits < account.seen.key - account.leaked - learned
    assert account.bits < quiet.account.bits


@pytest.mark.parametrize("reconciliation", ["cascade", "ldpc"])
def test_a_bit_flipped_in_any_kind_of_message_ends_the_run(reconciliation):
    made = chain("bb84", 60_000, NEAR, reconciliation)
    seen = Channel()
    assert made.session.run(
        made.plan.phase, made.pulses, NEAR, attack("none", "bb84").eavesdropper, seen, Seeded(Key.of(1))
    ).account.bits
    kinds = {(message.sender, message.kind) for message in seen.transcript}
    assert len(kinds) >= 9
    for sender, kind in sorted(kinds):

        def between(message, sender=sender, kind=kind):
            return flip(message) if (message.sender, message.kind) == (sender, kind) else message.body

        channel = authenticated(Seeded(Key.of(2)), between)
        done = made.run(attack("none", "bb84"), Seeded(Key.of(1)), channel)
        assert done.account.reason is Reason.AUTHENTICATION, kind
        assert len(done.alice) == len(done.bob) == 0
        assert f"'{kind}'" in done.account.detail


def test_the_account_is_the_transcript():
    for protocol, link, pulses, public in (("bb84", NEAR, 100_000, True), ("decoy-bb84", SHORT, 2_000_000, False)):
        channel = authenticated(Seeded(Key.of(3)))
        before = channel.consumed
        account = chain(protocol, pulses, link, "cascade").run(
            attack("none", protocol), Seeded(Key.of(4)), channel
        ).account  # fmt: skip
        told = sum(m.leaked for m in channel.transcript if m.sender == ALICE or not public)
        assert account.leaked + account.tag == told
        assert account.authentication == channel.consumed - before == 64 * len(channel.transcript)


def test_a_channel_of_ones_own_is_paid_for_with_its_start():
    made = chain("b92", 10_000, NEAR)
    assert made.run(attack("none", "b92"), Seeded(Key.of(1))).account.authentication == 64 * 4 + 2 * 8 * 40


@pytest.mark.parametrize("protocol", ["bb84", "decoy-bb84", "bbm92", "e91"])
def test_rates_fall_with_distance_and_stay_below_the_limit(protocol):
    chains = [chain(protocol, 10**9, replace(SHORT, distance=km)) for km in (0.0, 20.0, 50.0, 90.0)]
    rates, limits = ([f(made) for made in chains] for f in (lambda m: m.promised_rate, lambda m: m.plan.asymptotic))
    assert rates[0] > 0
    for values in (rates, limits):
        assert all(a > b or a == b == 0 for a, b in itertools.pairwise(values))
    assert all(rate < limit or rate == 0 for rate, limit in zip(rates, limits, strict=True))


@pytest.mark.parametrize("protocol", TWO_BASES)
def test_the_basis_of_the_key_can_be_given(protocol):
    given, free = (chain(protocol, 10**9, SHORT, variable=True, p_z=p_z) for p_z in (0.55, None))
    assert given.plan.phase.p_z == 0.55
    assert free.plan.phase.p_z in P_Z
    assert 0 < given.promised.bits < free.promised.bits


def test_simulated_rates_fall_too():
    nets = [run("bb84", 300_000, replace(SHORT, distance=km))[1].account.net for km in (0.0, 10.0, 20.0, 80.0)]
    assert nets == sorted(nets, reverse=True)
    assert nets[2] > 0 > nets[3]


def test_promises_grow_with_the_pulses_towards_the_limit():
    rates = [chain("bb84", 10**power, NEAR).promised_rate for power in (5, 7, 9, 11)]
    limit = chain("bb84", 10**5, NEAR).plan.asymptotic
    assert rates == sorted(rates)
    assert 0.85 * limit < rates[-1] < limit


def test_the_limit_ends_where_shor_and_preskill_end():
    assert chain("bb84", 10**6, Link(misalignment=0.1099)).plan.asymptotic > 0
    assert chain("bb84", 10**6, Link(misalignment=0.1102)).plan.asymptotic == 0


@pytest.mark.parametrize("name", ["cascade", "ldpc"])
def test_caps_hold_and_are_not_far(name):
    entropy, telling = Seeded(Key.of(5)), Telling(name)
    for bits, rate in ((4000, 0.005), (30_000, 0.004), (30_000, 0.02), (30_000, 0.05))[
        :: 1 if name == "cascade" else 2
    ]:
        for _ in range(3):
            alice = entropy.bits(bits)
            bob = alice ^ (entropy.generator().random(bits) < rate).astype(np.uint8)
            done = telling.reconciler(bits, rate).reconcile(alice, bob, rate, Channel(), entropy)
            assert (done.alice == done.bob).all()
            cap = telling.most(bits, rate, both=False)
            assert done.disclosed + (done.asked if name == "ldpc" else 0) <= cap
            assert cap < 1.3 * bits * binary_entropy(rate) + 200 + 0.022 * bits
            assert done.asked <= telling.most(bits, rate, both=True) - cap or name == "ldpc"
    assert telling.most(0, 0.5, both=True) == 0


def test_the_signs_of_the_bell_test():
    assert EKERT.test == {(0, 0): 0, (0, 2): 1, (2, 0): 0, (2, 2): 0}
    assert EKERT.key == {(1, 0): 0, (2, 1): 0}


def test_every_attack_that_fits_runs():
    for name, protocols in FITS.items():
        for protocol in protocols:
            _, done = run(protocol, 5000, SHORT, name)
            assert done.account.pulses == 5000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_links_from_which_nothing_comes(protocol):
    _, done = run(protocol, 2000, Link(distance=5000.0))
    assert done.account.bits == 0
    assert done.account.reason in (Reason.TOO_FEW_BITS, Reason.NO_PROOF)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: chain("bb48", 10**6, NEAR), "did you mean 'bb84'"),
        (lambda: chain("bb84", 999, NEAR), "at least 1000"),
        (lambda: chain("bb84", 10**6, NEAR, "turbo"), "cascade or ldpc"),
        (lambda: chain("e91", 10**6, NEAR, variable=True), "bbm92"),
        (lambda: chain("e91", 10**6, NEAR, p_z=0.7), "bbm92"),
        (lambda: chain("bb84", 10**6, NEAR, p_z=1.0), "1.0"),
        (lambda: run("bb84", MOST + 1), f"at most {MOST}"),
        (lambda: attack("eve", "bb84"), "'eve'"),
        (lambda: attack("photon-number-splitting", "bb84"), "decoy-bb84"),
        (lambda: attack("unambiguous-discrimination", "bb84"), "b92"),
        (lambda: attack("intercept-resend:lots", "bb84"), "NAME:NUMBER"),
        (lambda: attack("intercept-resend:1.5", "bb84"), "0 to 1"),
        (lambda: attack("entangling-probe:0.6", "bb84"), "0 to 0.5"),
        (lambda: attack("none:3", "bb84"), "without a number"),
    ],
    ids=[
        "protocol",
        "few",
        "turbo",
        "variable",
        "even",
        "certain",
        "many",
        "eve",
        "pns",
        "usd",
        "lots",
        "share",
        "probe",
        "none",
    ],
)
def test_refused_in_one_line(call, said):
    with pytest.raises(ConfigError) as error:
        call()
    assert said in str(error.value)


def test_an_empty_message_is_altered_too():
    from qfedfm.qkd.channel import Message

    assert flip(Message(ALICE, "x", b"")) == b"\x00"
    assert flip(Message(ALICE, "x", b"ab")) == b"ac"


def test_named_links_give_keys_where_physics_allows():
    assert chain("bb84", 10**7, named("lab")).promised.bits > 0
    assert chain("bb84", 10**7, named("long")).promised.bits == 0
