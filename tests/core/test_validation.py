"""From pydantic's errors to one line, on models that nest as an experiment does."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field

from qfedfm.core.validation import explain


@dataclass(frozen=True)
class Schedule:
    __pydantic_config__ = ConfigDict(extra="forbid")

    warmup: int = 0


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Text(Model):
    kind: Literal["text"] = "text"
    columns: tuple[str, ...] = ()


class Image(Model):
    kind: Literal["image"] = "image"
    pixels: int


class Training(Model):
    rate: Annotated[float, Field(gt=0)] = 0.1
    schedule: Schedule | None = None


class Root(Model):
    name: str
    task: Annotated[Text | Image, Field(discriminator="kind")] = Text()
    training: Training = Training()
    arms: dict[str, Training] = {}
    layers: Literal["all"] | Annotated[int, Field(gt=0)] = "all"
    chosen: Annotated[int, Field(ge=0)] | tuple[Annotated[int, Field(ge=0)], ...] = 0

    @pydantic.field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 5:
            raise ValueError("a name of at most five letters")
        return name

    @pydantic.model_validator(mode="after")
    def _apart(self) -> "Root":
        if self.name in self.arms:
            raise ValueError("arms with other names")
        return self


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no 'name'; expected a value; add it to the experiment"),
        ({"name": 3}, "name = 3; expected a text in quotes"),
        ({"name": "longer"}, "name = 'longer'; expected a name of at most five letters"),
        ({"name": "a", "nmae": 1}, "unknown key 'nmae'; did you mean 'name'?"),
        ({"name": "a", "training": {"rate": 0}}, "training.rate = 0; expected greater than 0"),
        ({"name": "a", "training": {"rat": 1}}, "unknown key 'training.rat'; did you mean 'rate'?"),
        (
            {"name": "a", "training": {"schedule": {"warmup": "x"}}},
            "training.schedule.warmup = 'x'; expected a valid int",
        ),
        (
            {"name": "a", "training": {"schedule": {"warmpu": 1}}},
            "unknown key 'training.schedule.warmpu'; did you mean 'warmup'?",
        ),
        ({"name": "a", "arms": {"b": {"rate": "x"}}}, "arms.b.rate = 'x'; expected a valid number"),
        ({"name": "a", "arms": {"b": {"rat": 1}}}, "unknown key 'arms.b.rat'; did you mean 'rate'?"),
        ({"name": "a", "task": {"kind": "image"}}, "no 'task.pixels'"),
        ({"name": "a", "task": {"kind": "image", "pixel": 3, "pixels": 1}}, "did you mean 'pixels'?"),
        ({"name": "a", "task": {"kind": "sound"}}, "task.kind = 'sound'; expected 'text' or 'image'"),
        ({"name": "a", "task": 3}, "task = 3; expected a table"),
        ({"name": "a", "layers": "some"}, "layers = 'some'; expected 'all' or a valid integer"),
        ({"name": "a", "layers": 0}, "layers = 0; expected 'all' or greater than 0"),
        ({"name": "a", "chosen": -1}, "chosen = -1; expected greater than or equal to 0"),
        ({"name": "a", "chosen": [1, -1]}, "chosen.1 = -1; expected greater than or equal to 0"),
        ({"name": "a", "chosen": "x"}, "chosen = 'x'; expected a valid integer or a list"),
        ({"name": "a", "training": 3}, "training = 3; expected a table"),
        ({"name": "a", "training": "x" * 500}, f"training = '{'x' * 78}…; expected a table"),
        ({"name": "a", "arms": {"a": {}}}, "Root; expected arms with other names"),
    ],
)
def test_the_first_error_becomes_one_line(settings, message):
    with pytest.raises(pydantic.ValidationError) as caught:
        Root.model_validate(settings)
    explained = str(explain(caught.value, Root))
    assert explained.startswith(message) or explained.endswith(message)
    assert "\n" not in explained


def test_a_dataclass_and_a_place_in_front_of_its_fields():
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(Schedule).validate_python({"warmup": "x"})
    assert str(explain(caught.value, Schedule, "schedule:")).startswith("schedule:.warmup = 'x'")
