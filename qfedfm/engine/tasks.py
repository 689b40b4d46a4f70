"""The tasks that an experiment can name, told apart by ``kind``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from qfedfm.engine.custom import CustomTask
from qfedfm.tasks.digits import Digits
from qfedfm.tasks.masked import GAIN, Masked
from qfedfm.tasks.protocol import Task
from qfedfm.tasks.text import TextClassification


def _kind(task: Any) -> str | None:
    given = task.get("kind", "text-classification") if isinstance(task, Mapping) else getattr(task, "kind", None)
    return None if given is None else str(given)


PlainTask = Annotated[
    Annotated[TextClassification, Tag("text-classification")]
    | Annotated[Digits, Tag("digits")]
    | Annotated[CustomTask, Tag("python")],
    Discriminator(_kind),
]
"""A task in a configuration whose weights are trained."""


class MaskedTask(BaseModel):
    """Frozen random weights under trained masks in the model of another task: see `Masked` for the options.

    Example:
        >>> task = MaskedTask(kind="masked", task={"kind": "digits", "hidden": 128, "heads": 8, "layers": 1})
        >>> task.build().name
        'masked-digits'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["masked"]
    task: PlainTask
    seed: int = 0
    gain: float = Field(default=GAIN, gt=0, allow_inf_nan=False)
    spread: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    evaluation: Literal["expected", "sampled"] = "expected"

    def build(self) -> Task:
        """The task.

        Raises:
            ConfigError: the inner one cannot be made.
        """
        inner = self.task.build() if isinstance(self.task, CustomTask) else self.task
        return Masked(inner, self.seed, self.gain, self.spread, self.evaluation)


AnyTask = Annotated[
    Annotated[TextClassification, Tag("text-classification")]
    | Annotated[Digits, Tag("digits")]
    | Annotated[MaskedTask, Tag("masked")]
    | Annotated[CustomTask, Tag("python")],
    Discriminator(_kind),
]
"""A task in a configuration; a table without ``kind`` is text classification."""
