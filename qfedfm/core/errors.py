"""Errors that a user can act on: what was given, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class QfedfmError(Exception):
    """A mistake in what the library was given. The command line prints it as one line and exits with status 2.

    Args:
        given: what was found, with the offending value.
        expected: what would have been right.
        remedy: what the user can do about it.
    """

    def __init__(self, given: str, expected: str = "", remedy: str = "") -> None:
        self.given, self.expected, self.remedy = given, expected, remedy
        parts = [given, f"expected {expected}" if expected else "", remedy]
        super().__init__("; ".join(part for part in parts if part))

    def __reduce__(self) -> tuple[type[QfedfmError], tuple[str, str, str]]:
        return type(self), (self.given, self.expected, self.remedy)


class ConfigError(QfedfmError):
    """An experiment, a part or a command-line value is not valid."""


class DataError(QfedfmError):
    """A model, a data file, a column or a partition is missing or does not fit."""


class StackError(QfedfmError):
    """Parts were combined in a way that would give a wrong or an insecure result."""


class PayloadError(QfedfmError):
    """A payload is truncated, altered, addressed elsewhere, or decodes to something that is not finite."""


class CheckpointError(QfedfmError):
    """A checkpoint or a result folder belongs to another experiment or cannot be read."""


class MissingExtraError(QfedfmError):
    """An optional dependency is not installed."""


class LedgerError(QfedfmError):
    """The ledger of jobs cannot be used, or holds a job that has to be settled first."""


class BudgetError(QfedfmError):
    """A limit on circuits, shots, seconds or money would be passed."""


class AuthenticationError(QfedfmError):
    """A message was altered, dropped, repeated or forged on its way; nothing that it led to may be used."""


class AgreementError(QfedfmError):
    """Two parties could not agree on a key: a message was altered or is somebody else's, or their secrets differ."""


class RoundError(QfedfmError):
    """A round of secure aggregation is given up: too few clients, a message out of turn, two sets of survivors."""


class DeviceError(QfedfmError):
    """A quantum device, or the service that leads to it, did not do its work; another try may succeed."""


class KeyRefusedError(QfedfmError):
    """A key that whoever asks may not have: it was given already, is another's, or there is none."""


class KeyUnknownError(KeyRefusedError):
    """No key has that id here, or it has expired."""


class KeyShortageError(QfedfmError):
    """A source of keys has not enough of them now; another try may succeed."""


class KeyStoreError(QfedfmError):
    """A key store cannot be used: its file, its master key or its content is not right."""


class KeyServiceError(QfedfmError):
    """A key service cannot be reached, cannot be believed, or refused what it was asked."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The advice that follows an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(names)}"
