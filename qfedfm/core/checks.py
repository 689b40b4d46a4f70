"""What every part checks about its own fields and about the number of updates that it is given."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable
from typing import Any

import pydantic

from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.parts import CohortLayer, Part, Reduce


@functools.cache
def _validators(cls: type[Part]) -> dict[str, Callable[..., Any]]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: pydantic.TypeAdapter(hints[field.name]).validate_python for field in dataclasses.fields(cls)}  # type: ignore[arg-type]


def check_fields(part: Part) -> None:
    """Holds a part that is constructed directly to the same types and ranges as one that comes from a configuration.

    A part calls this from ``__post_init__``; the rules are its annotations, ``Annotated[int, pydantic.Field(ge=0)]``.

    Raises:
        ConfigError: a field has another type than its annotation, or is out of range.
    """
    for name, validate in _validators(type(part)).items():
        value = getattr(part, name)
        try:
            checked = validate(value, strict=True)
        except pydantic.ValidationError as error:
            given = f"{part.kind} {part.name!r}: {name} = {value!r}"
            raise ConfigError(given, error.errors()[0]["msg"].removeprefix("Input should be ")) from None
        if isinstance(checked, Part) and checked is not value:
            raise ConfigError(f"{part.kind} {part.name!r}: {name} = {value!r}", f"an object, {checked!r}")


def require_rows(part: Reduce | CohortLayer, cohort: Cohort) -> None:
    """Refuses a cohort that is smaller than the part's ``minimum_rows``.

    Raises:
        StackError: there are fewer updates than the part is defined for.
    """
    needed = part.minimum_rows()
    if cohort.n < needed:
        given = f"{cohort.n} updates for {part.kind} {part.name!r}"
        raise StackError(given, f"at least {needed}", "sample more clients or assume fewer hostile ones")
