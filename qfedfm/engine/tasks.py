"""The tasks that an experiment can name, told apart by ``kind``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from qfedfm.engine.custom import CustomTask
from qfedfm.tasks.digits import Digits
from qfedfm.tasks.text import TextClassification


def _kind(task: Any) -> str | None:
    given = task.get("kind", "text-classification") if isinstance(task, Mapping) else getattr(task, "kind", None)
    return None if given is None else str(given)


AnyTask = Annotated[
    Annotated[TextClassification, Tag("text-classification")]
    | Annotated[Digits, Tag("digits")]
    | Annotated[CustomTask, Tag("python")],
    Discriminator(_kind),
]
"""A task in a configuration; a table without ``kind`` is text classification."""
