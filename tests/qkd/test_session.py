import math

import numpy as np
import pytest

from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.qkd.attack import flip
from qfedfm.qkd.chain import authenticated
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.decoy_length import Intensities, VariableLengthDecoy
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.entropy import Seeded, System
from qfedfm.qkd.finite import FixedLength, VariableLength
from qfedfm.qkd.proof import Epsilon, NoProof, Reason
from qfedfm.qkd.session import Session
from qfedfm.qkd.sifting import MATCHING
from tests.qkd.phases import Genie, Photons

GENIE, PHOTONS = Genie(), Photons()
FIXED = FixedLength(20_000, 2000, 0.02, 4000)


def run(proof=FIXED, reconciler=GENIE, photons=PHOTONS, pulses=80_000, seed=0, channel=None, **options):
    channel, entropy = channel or Channel(), Seeded(Key.of(seed))
    return Session(MATCHING, proof, reconciler, **options).run(photons, pulses, None, None, channel, entropy), channel


def test_two_equal_keys_and_an_account_that_adds_up():
    done, channel = run()
    account = done.account
    assert account.reason is None
    assert len(done.alice) == account.bits == FIXED.bits > 0
    assert (done.alice == done.bob).all()
    assert abs(done.alice.mean() - 0.5) < 4 * 0.5 / math.sqrt(account.bits)
    assert account.pulses == 80_000
    assert account.clicks == pytest.approx(40_000, abs=500)
    assert account.sifted == pytest.approx(40_000 * 9 / 16, abs=500)
    assert account.seen.key == 20_000
    assert account.qber == account.seen.rate
    assert account.leaked + account.tag == channel.leaked
    assert account.leaked == math.ceil(1.1 * 20_000 * binary_entropy(account.qber)) + 10
    assert account.epsilon == FIXED.epsilon
    assert account.randomness.startswith("INSECURE")
    assert account.net == account.bits


def test_keys_are_not_repeated_and_do_not_show():
    keys = [Session(MATCHING, FIXED, Genie()).run(Photons(), 80_000, None, None, Channel(), System()) for _ in range(2)]
    first, second = (done.alice for done in keys)
    assert abs((first != second).mean() - 0.5) < 0.1
    shown = repr(keys[0])
    assert "array" not in shown
    assert "alice" not in shown


def test_directions_of_the_leak_and_dropped_frames_are_counted():
    both, _ = run()
    one, _ = run(errors_public=True)
    assert both.account.leaked - one.account.leaked == 10
    dropped, _ = run(reconciler=Genie(dropped=500))
    assert dropped.account.leaked - both.account.leaked == 500
    assert (dropped.alice == dropped.bob).all()
    assert dropped.account.bits == FIXED.bits


def test_variable_lengths_follow_what_was_told():
    lengths = [run(VariableLength(), Genie(dropped=dropped))[0].account for dropped in (0, 500)]
    assert lengths[0].bits - lengths[1].bits == 500
    assert lengths[0].bits > 0


def test_decoys():
    source = Intensities((0.6, 0.2, 0.0), (0.6, 0.2, 0.2))
    proof = VariableLengthDecoy(source, Epsilon(1e-6, 1e-9))
    photons = Photons(qber=0.005, detected=1.0, intensities=source.means)
    done, _ = run(proof, photons=photons, pulses=4_000_000)
    assert done.account.reason is None, done.account.detail
    assert len(done.alice) == done.account.bits > 0
    assert (done.alice == done.bob).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pulses": 1000}, Reason.TOO_FEW_BITS),
        ({"pulses": 0}, Reason.TOO_FEW_BITS),
        ({"photons": Photons(qber=0.05)}, Reason.ERRORS),
        ({"photons": Photons(qber=0.25), "proof": VariableLength()}, Reason.ERRORS),
        ({"reconciler": Genie(efficiency=5)}, Reason.LEAK),
        ({"reconciler": Genie(dropped=2500)}, Reason.LEAK),
        ({"reconciler": Genie(left=1)}, Reason.VERIFICATION),
        ({"proof": NoProof(100, "none for this protocol")}, Reason.NO_PROOF),
        (
            {"proof": VariableLengthDecoy(), "photons": Photons(intensities=(0.5, 0.1, 0.0))},
            Reason.DECOY,
        ),
    ],
    ids=["few", "none", "tolerance", "errors", "leak", "dropped", "left", "proof", "decoy"],
)
def test_no_key_and_the_reason(options, reason):
    done, _ = run(**options)
    assert done.account.reason is reason
    assert len(done.alice) == len(done.bob) == done.account.bits == 0
    assert done.account.epsilon is None
    assert done.account.detail


def test_without_authentication_an_altered_message_ends_the_run():
    with pytest.raises(PayloadError):
        run(channel=Channel(lambda message: message.body[:-1]))


@pytest.mark.parametrize("place", [0, 1, 2, 4, 6])
def test_what_was_seen_before_a_message_that_is_not_authentic_stays_in_the_account(place):
    """The messages: clicks, bases, two of the test, two of the stand-in for reconciliation, those of verification."""
    whole, channel = run()
    kind = channel.transcript[place].kind
    assert [message.kind for message in channel.transcript[:2]] == ["clicks", "bases"]

    def between(message):
        return flip(message) if message.kind == kind else message.body

    account = run(channel=authenticated(Seeded(Key.of(9)), between))[0].account
    assert account.reason is Reason.AUTHENTICATION
    assert repr(kind) in account.detail
    assert account.clicks == whole.account.clicks
    assert account.sifted == (whole.account.sifted if place > 1 else 0)
    assert account.seen == (whole.account.seen if place > 3 else None)
    assert account.leaked == (whole.account.leaked if place > 5 else 0)
    assert account.bits == account.tag == 0
    assert account.epsilon is None


def test_the_same_seed_gives_the_same_key():
    first, second, other = (run(seed=seed)[0].alice for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
