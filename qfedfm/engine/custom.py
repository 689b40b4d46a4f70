"""A task that the user brings: named in the experiment by the callable that makes it."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from qfedfm.core.errors import ConfigError
from qfedfm.tasks.protocol import Task


class CustomTask(BaseModel):
    """A task of your own: ``factory`` names a callable, ``module:name``, that makes a `Task` of ``options``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["python"]
    factory: str
    options: dict[str, Any] = {}

    def build(self) -> Task:
        """The task.

        Raises:
            ConfigError: the factory cannot be imported, refuses the options, or returns something else.
        """
        named, expected = f"task.factory = {self.factory!r}", "module:name of a callable"
        module, _, name = self.factory.partition(":")
        if not name or not module or module.startswith("."):
            raise ConfigError(named, expected)
        try:
            factory = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError, SyntaxError) as error:
            remedy = "install its module or run in the folder where it lies"
            raise ConfigError(f"{named}: {error}", expected, remedy) from error
        if not callable(factory):
            raise ConfigError(f"{named} is a {type(factory).__name__}", expected)
        try:
            task = factory(**self.options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{named} refuses options {self.options}: {error}", "options that it takes") from error
        if not isinstance(task, Task):
            raise ConfigError(f"{named} returned a {type(task).__name__}", "a qfedfm Task")
        return task
