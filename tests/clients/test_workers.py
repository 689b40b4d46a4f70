import os
import signal
import threading
import time

import numpy as np
import pytest
import torch

from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query
from qfedfm.clients.workers import side_by_side
from qfedfm.core.key import Key
from qfedfm.core.phases import phase, recording
from tests.clients.tiny import TinyTask, bert, bert_lora, ia3


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def test_results_keep_the_order_of_the_items_and_each_has_one_thread():
    meeting = threading.Barrier(2, timeout=20)

    def work(item):
        meeting.wait()
        time.sleep(0.02 * (item % 2))
        return item, torch.get_num_threads(), threading.get_ident()

    found = side_by_side(work, range(6), 2)
    assert [(item, threads) for item, threads, _ in found] == [(item, 1) for item in range(6)]
    assert len({ident for _, _, ident in found} - {threading.get_ident()}) == 2


def test_one_item_stays_in_its_thread_and_one_worker_has_all_threads():
    assert side_by_side(lambda _: (torch.get_num_threads(), threading.get_ident()), [0], 2) == [
        (1, threading.get_ident())
    ]
    assert side_by_side(lambda _: torch.get_num_threads(), [0, 1], 1) == [3, 3]
    assert side_by_side(lambda _: 0, [], 2) == []


def test_what_one_item_raises_comes_once_nothing_is_at_work_any_more():
    at_work, seen = [], []

    def work(item):
        at_work.append(item)
        time.sleep(0.01)
        seen.append(len(at_work))
        at_work.remove(item)
        return 1 // (item - 1)

    with pytest.raises(ZeroDivisionError):
        side_by_side(work, range(50), 2)
    assert not at_work
    assert len(seen) < 50
    assert side_by_side(lambda item: item, range(3), 2) == [0, 1, 2]


def test_ctrl_c_does_not_wait_for_what_has_not_begun():
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            side_by_side(lambda _: time.sleep(0.1), range(400), 2)
        assert time.monotonic() - began < 5
    finally:
        signal.signal(signal.SIGINT, before)
    assert side_by_side(lambda item: item, range(3), 2) == [0, 1, 2]


def test_a_second_ctrl_c_leaves_the_number_of_threads_as_it_was():
    threads = torch.get_num_threads()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timers = [threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGINT)) for after in (0.2, 0.5)]
    torch.set_num_threads(2)
    try:
        for timer in timers:
            timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            side_by_side(lambda _: time.sleep(2), range(2), 2)
        assert time.monotonic() - began < 1.5
        assert torch.get_num_threads() == 2
    finally:
        signal.signal(signal.SIGINT, before)
        torch.set_num_threads(threads)
    assert side_by_side(lambda item: item, range(3), 2) == [0, 1, 2]


def test_phases_lie_where_the_work_was_handed_over_and_are_no_more_than_the_time_that_passed():
    def work(_):
        with phase("forward"):
            time.sleep(0.05)

    with recording() as recorder, phase("train"):
        side_by_side(work, range(4), 2)
    assert [span.path for span in recorder.spans] == [("train", "forward")] * 4 + [("train",)]
    (train,) = [span for span in recorder.spans if span.path == ("train",)]
    passed = (train.end - train.start) / 1e9
    assert recorder.seconds("train") == pytest.approx(passed)
    assert 0.1 <= recorder.seconds("forward", within=("train",)) <= passed + 1e-3
    own = recorder.own()
    assert own["train"] + own["forward"] == pytest.approx(passed, abs=1e-6)
    assert len({span.thread for span in recorder.spans}) == 3


def engine(workers, **options):
    torch.set_num_threads(workers)
    try:
        return FusedEngine(
            bert_lora(), Key.of(0), device="cpu", precision="float32", **{"micro_batch_tokens": 64} | options
        )
    finally:
        torch.set_num_threads(3)


def jobs(made):
    rng = np.random.default_rng(0)
    return [
        Job(
            client,
            made.first + 0.05 * rng.normal(size=made.layout.size).astype(np.float32),
            tuple(rng.integers(0, 60, size) for size in rng.integers(1, 12, 2)),
            np.full(2, 0.02),
            LocalOptimizer("sgd", momentum=0.9),
        )
        for client in range(5)
    ]


@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_bits_do_not_depend_on_the_number_of_workers(cache_bytes):
    found = []
    for workers in (1, 2, 3):
        made = engine(workers, cache_bytes=cache_bytes)
        assert made.plan()["workers"] == str(workers)
        if workers == 1:
            torch.set_num_threads(1)
        trained = list(made.train(jobs(made)))
        outputs = made.outputs([Query(made.first, np.arange(60))])[0]
        loss, gradient = made.gradient(trained[0].delta + made.first, np.arange(60))
        torch.set_num_threads(3)
        found.append([*(one.delta for one in trained), *(one.losses for one in trained), outputs, gradient, loss])
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_pass_that_fails_leaves_the_engine_usable(monkeypatch):
    made = engine(2)
    mine = jobs(made)
    expected = list(made.train(mine))
    losses, calls = made.task.losses, []

    def failing(_, outputs, labels):
        calls.append(0)
        if len(calls) == 2:
            raise RuntimeError("the user's loss")
        return losses(outputs, labels)

    with monkeypatch.context() as patch:
        patch.setattr(TinyTask, "losses", failing)
        with pytest.raises(RuntimeError, match="the user's loss"):
            list(made.train(mine))
    for one, again in zip(expected, made.train(mine), strict=True):
        np.testing.assert_array_equal(one.delta, again.delta)


def test_modules_that_get_a_lanes_parameters_put_into_them_are_one_threads():
    made = FusedEngine(
        TinyTask(bert, ia3("classifier", "query", "output.dense")), Key.of(0), device="cpu", precision="float32"
    )
    assert made.plan()["engine"] == "fused"
    assert made.plan()["workers"] == "1"
