"""A submission is shown, priced, tried, written down and sent once, whatever happens on the way."""

import multiprocessing
import os

import pytest

from qfedfm.core.errors import BudgetError, ConfigError, DeviceError, LedgerError
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.cloud import submit as submission
from qfedfm.quantum.cloud.follow import cancel, refresh, wait
from qfedfm.quantum.cloud.ledger import NEVER, OPEN, Ledger
from qfedfm.quantum.cloud.prices import Price
from qfedfm.quantum.cloud.submit import Request, plan, submit, within
from tests.quantum.cloud.double import Double


def bound(angle=0.3):
    circuit = born_circuit(2, 1)
    return circuit.assign_parameters([angle] * circuit.num_parameters)


@pytest.fixture
def place(tmp_path):
    return Ledger(tmp_path / "jobs.sqlite"), Double(tmp_path / "double.json")


def sent(ledger, device, request=None, said=None):
    request = request or Request(bound(), "double:x", 50, {"name": "born"})
    say = (said if said is not None else []).append
    return submit(request, plan(request, device, None, ledger), device, ledger, say, sleep=lambda seconds: None)


def mains(device):
    return [job for job in device.jobs.values() if job["name"] != "canary"]


def test_a_job_is_sent_after_a_canary_and_is_found_later(place):
    ledger, device = place
    said = []
    entry = sent(ledger, device, said=said)
    assert [known.kind for known in ledger.all()] == ["canary", "job"]
    assert (entry.state, entry.job, entry.told, entry.shots) == ("sent", "d1", True, 50)
    assert "OPENQASM 3" in entry.qasm
    assert said[-1] == f"Job {entry.uuid[:8]} is on double:x as d1"
    again = Ledger(ledger.path).get(entry.uuid[:6])
    done, state = refresh(again, device, ledger)
    assert (done.counts, done.seconds, state) == ({"01": 50}, 1.5, "done")
    assert refresh(done, device, ledger) == (done, "done")


def test_a_device_that_answered_rightly_is_not_tried_again_the_same_day(place):
    ledger, device = place
    sent(ledger, device)
    sent(ledger, device, Request(bound(0.5), "double:x", 50))
    assert len(device.jobs) == 3
    wider = born_circuit(3, 1)
    sent(ledger, device, Request(wider.assign_parameters([0.1] * 6), "double:x", 50))
    assert len(device.jobs) == 5  # more qubits: another canary


@pytest.mark.parametrize(("ones", "said"), [(50, "too few ones"), (5, "qubit 0: 5 %, qubit 1: 5 %")])
def test_a_canary_that_does_not_sing_stops_the_submission(place, ones, said):
    ledger, device = place
    device.ones = ones
    with pytest.raises(DeviceError, match=said):
        sent(ledger, device)
    assert not mains(device)


def test_a_service_that_counts_nothing_is_found_out(place):
    ledger, device = place
    entry = sent(ledger, device)
    device.counts = {}
    with pytest.raises(DeviceError, match="counted nothing"):
        refresh(entry, device, ledger)
    assert ledger.get(entry.uuid).state == "failed"
    with pytest.raises(DeviceError, match="counted nothing in the canary"):
        submission.refuse_dead_qubits({}, 2, "double:x")


def test_what_cannot_be_submitted_is_refused_before_anything_is_asked(place):
    ledger, device = place
    with pytest.raises(ConfigError, match="free parameters theta"):
        plan(Request(born_circuit(2, 1), "double:x", 50), device, None, ledger)
    with pytest.raises(ConfigError, match="--shots 0"):
        plan(Request(bound(), "double:x", 0), device, None, ledger)
    assert not ledger.all()


def test_the_price_is_that_of_both_jobs_and_a_budget_refuses(place):
    ledger, device = place
    price = Price(device="double:", as_of="2026-11", task=0.3, shot=0.01)
    request = Request(bound(), "double:x", 200)
    planned = plan(request, device, price, ledger)
    assert planned.dollars == pytest.approx(0.3 + 2.0 + 0.3 + 1.0)
    within(planned, 3.6)
    within(planned, None)
    with pytest.raises(BudgetError, match=r"\$3.60 for this submission"):
        within(planned, 3.59)
    with pytest.raises(BudgetError, match="without a known price"):
        within(plan(request, device, None, ledger), 100.0)
    submit(request, planned, device, ledger, sleep=lambda seconds: None)
    assert plan(request, device, price, ledger).dollars == pytest.approx(2.3)
    assert [entry.price for entry in ledger.all()] == [1.3, 2.3]


def test_a_refused_job_is_noted_as_failed(place):
    ledger, device = place
    sent(ledger, device)
    device.refuses = True
    with pytest.raises(DeviceError, match="the double refuses"):
        sent(ledger, device, Request(bound(0.7), "double:x", 50))
    assert ledger.all()[-1].state == "failed"


def test_a_connection_lost_while_sending_leaves_an_intent_that_blocks_until_it_is_settled(place):
    ledger, device = place
    sent(ledger, device)
    other = Request(bound(0.7), "double:x", 50)
    device.gone = True
    with pytest.raises(ConnectionError):
        sent(ledger, device, other)
    device.gone, device.silent = False, True
    assert ledger.all()[-1].state == OPEN
    with pytest.raises(LedgerError, match="may or may not have been sent"):
        sent(ledger, device, other)
    assert len(mains(device)) == 1
    device.silent = False
    sent(ledger, device, other)
    assert len(mains(device)) == 2
    assert [entry.state for entry in ledger.all()[-2:]] == [NEVER, "sent"]


def test_waiting_looks_less_and_less_often_and_survives_a_lost_connection(place):
    ledger, device = place
    entry = sent(ledger, device)
    device.lost, pauses = 2, []
    assert wait(entry, device, ledger, sleep=pauses.append).state == "done"
    assert pauses == [1.0, 1.5]


def test_waiting_ends_with_a_line_and_the_job_can_be_waited_for_again(place):
    ledger, device = place
    entry = sent(ledger, device)
    device.lost = 99
    with pytest.raises(DeviceError, match=f"jobs wait {entry.uuid[:8]}"):
        wait(entry, device, ledger, sleep=lambda seconds: None)
    device.lost, device.state = 0, "queued"
    with pytest.raises(DeviceError, match="has not ended after"):
        wait(entry, device, ledger, most=3.0, sleep=lambda seconds: None)
    device.state = "done"
    assert wait(ledger.get(entry.uuid), device, ledger).state == "done"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_how_a_job_ended_is_kept(place, state):
    ledger, device = place
    entry = sent(ledger, device)
    device.state = state
    assert wait(entry, device, ledger).state == state
    assert ledger.get(entry.uuid).message == ("why" if state == "failed" else "")


def test_cancelling(place):
    ledger, device = place
    entry = sent(ledger, device)
    assert cancel(entry, device, ledger).state == "cancelled"
    with pytest.raises(ConfigError, match="is cancelled"):
        cancel(ledger.get(entry.uuid), device, ledger)


class Killed(BaseException):
    """The process dies here: nothing after it runs."""


def dying(monkeypatch, at, kill):
    """Lets every step of a submission count, before and after, and kills at one of them."""
    steps = [0]

    def step():
        steps[0] += 1
        if steps[0] == at:
            kill()

    def around(owner, name):
        method = getattr(owner, name)

        def counted(*arguments, **options):
            step()
            result = method(*arguments, **options)
            step()
            return result

        monkeypatch.setattr(owner, name, counted)

    for name in ("intend", "sent", "settle", "tell"):
        around(Ledger, name)
    for name in ("prepare", "send", "look", "find"):
        around(Double, name)
    return steps


def raise_killed():
    raise Killed


def test_killed_at_any_step_and_started_again_it_is_sent_once(tmp_path):
    at, finished = 0, False
    while not finished:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            dying(patch, at, raise_killed)
            try:
                sent(Ledger(folder / "jobs.sqlite"), Double(folder / "double.json"))
                finished = True
            except Killed:
                pass
        ledger, device = Ledger(folder / "jobs.sqlite"), Double(folder / "double.json")
        told = [entry for entry in ledger.all() if entry.kind == "job" and entry.told]
        if not told:
            sent(ledger, device)
        assert len(mains(device)) == 1, f"killed at step {at}"
        assert len(device.jobs) <= 2, f"killed at step {at}"
        assert all(entry.state != OPEN for entry in ledger.all())
    assert at > 12


def _dies(folder, at):
    with pytest.MonkeyPatch.context() as patch:
        dying(patch, at, lambda: os._exit(9))
        sent(Ledger(folder / "jobs.sqlite"), Double(folder / "double.json"))


@pytest.mark.slow
@pytest.mark.parametrize("at", [2, 4, 10, 12])
def test_a_process_that_really_dies_lets_go_of_the_ledger(tmp_path, at):
    process = multiprocessing.get_context("spawn").Process(target=_dies, args=(tmp_path, at))
    process.start()
    process.join(120)
    assert process.exitcode == 9
    ledger, device = Ledger(tmp_path / "jobs.sqlite"), Double(tmp_path / "double.json")
    sent(ledger, device)
    assert len(mains(device)) == 1
