"""Following jobs: their state, their results, in whatever process."""

from __future__ import annotations

import time
from collections.abc import Callable

from qfedfm.core.errors import ConfigError, DeviceError
from qfedfm.quantum.cloud.ledger import ENDED, OPEN, SENT, Entry, Ledger
from qfedfm.quantum.cloud.provider import Provider, quiet

_LONGEST = 60.0
"""Seconds between two looks, at most."""
_GIVE_UP = 5
"""Looks in a row that may fail for want of a connection."""


def refresh(entry: Entry, device: Provider, ledger: Ledger) -> tuple[Entry, str]:
    """Looks at a job once, and notes how it ended; gives its entry and what the provider calls its state.

    Raises:
        ConfigError: it was never sent.
        DeviceError: the provider does not know it, or counted nothing.
    """
    if entry.state in ENDED:
        return entry, entry.state
    if entry.state == OPEN or entry.job is None:
        raise ConfigError(f"job {entry.uuid[:8]} is an intent", "a job that was sent", "`qfedfm submit` settles it")
    look = device.look(entry.job)
    if look.state == "done":
        if not sum(look.counts.values()):
            message = f"{entry.backend} counted nothing in job {entry.uuid[:8]}"
            ledger.settle(entry.uuid, "failed", {}, look.seconds, message)
            raise DeviceError(message, f"{entry.shots} shots", "the service may not read measurements")
        ledger.settle(entry.uuid, "done", look.counts, look.seconds)
    elif look.state in ENDED:
        ledger.settle(entry.uuid, look.state, message=look.message)
    return ledger.get(entry.uuid), look.state


def wait(
    entry: Entry,
    device: Provider,
    ledger: Ledger,
    most: float | None = None,
    say: Callable[[str], None] = quiet,
    sleep: Callable[[float], None] = time.sleep,
) -> Entry:
    """Looks at a job until it has ended, less and less often.

    Args:
        entry: of the job.
        device: where it is.
        ledger: where its end is noted.
        most: seconds to wait; None for as long as it takes.
        say: told of each change of state.
        sleep: waits.

    Raises:
        DeviceError: the connection is lost for good, or the time is over; the job goes on and can be waited for again.
    """
    pause, passed, failed, last = device.seconds_between_looks, 0.0, 0, ""
    while True:
        try:
            entry, state = refresh(entry, device, ledger)
            failed = 0
        except OSError as error:
            failed, state = failed + 1, "no connection"
            if failed == _GIVE_UP:
                given = f"the connection to {entry.backend} is lost ({error})"
                raise DeviceError(given, "", f"the job goes on: qfedfm jobs wait {entry.uuid[:8]}") from None
        if entry.state in ENDED:
            return entry
        if state != last:
            say(f"{entry.uuid[:8]} {state}")
            last = state
        if most is not None and passed >= most:
            given = f"job {entry.uuid[:8]} has not ended after {passed:.0f} seconds ({state})"
            raise DeviceError(given, "", f"it goes on: qfedfm jobs wait {entry.uuid[:8]}")
        sleep(pause)
        passed, pause = passed + pause, min(1.5 * pause, _LONGEST)


def cancel(entry: Entry, device: Provider, ledger: Ledger) -> Entry:
    """Asks for a job to be cancelled and looks what became of it.

    Raises:
        ConfigError: it has ended already, or was never sent.
        DeviceError: the provider refuses.
    """
    if entry.state != SENT or entry.job is None:
        raise ConfigError(f"job {entry.uuid[:8]} is {entry.state}", "one that is under way")
    device.cancel(entry.job)
    return refresh(entry, device, ledger)[0]
