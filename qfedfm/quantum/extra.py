"""Packages of the extra ``cloud``, imported where they are used, and what their clients raise."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from qfedfm.core.errors import DeviceError, MissingExtraError


def cloud(module: str) -> ModuleType:
    """Imports a module of the extra ``cloud``.

    Raises:
        MissingExtraError: it is not installed; the message names the extra.

    Example:
        >>> cloud("qiskit.qasm3").__name__
        'qiskit.qasm3'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        given = f"{error.name} is not installed, which this executor needs"
        remedy = 'install it with: pip install -c constraints.txt -e ".[cloud]"'
        raise MissingExtraError(given, "", remedy) from None


@contextmanager
def service(name: str, *failures: type[Exception]) -> Iterator[None]:
    """Says in one line what a provider's client raises while it sends a job or waits for it.

    Raises:
        DeviceError: one of the failures happened.
    """
    try:
        yield
    except failures as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise DeviceError(f"{name} failed ({said})", "", "see the provider's page of jobs, and run again") from error
