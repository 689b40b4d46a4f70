"""An interrupt that a library swallowed is raised at the next event."""

import contextlib
import signal
import threading

import pytest

from qfedfm.core.progress import Event
from qfedfm.engine.interrupt import heard


@pytest.fixture
def handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_without_an_interrupt_events_pass(handler):
    seen = []
    with heard(seen.append) as watch:
        watch(Event("prepare"))
    assert [event.stage for event in seen] == ["prepare"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_swallowed_interrupt_is_raised_after_the_next_event(handler):
    seen = []
    with heard(seen.append) as watch:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            watch(Event("prepare"))
    assert len(seen) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_still_comes_at_once(handler):
    with heard(lambda event: None), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_handler_of_somebody_else_stays():
    def mine(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGINT, mine)
    try:
        with heard(lambda event: None):
            assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_set(handler):
    found = []

    def work():
        with heard(lambda event: None):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
