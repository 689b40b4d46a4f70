"""From pydantic's list of errors to the one line that a user reads."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterator
from typing import Any

import pydantic

from qfedfm.core.errors import ConfigError, nearest


def explain(error: pydantic.ValidationError, cls: Any, where: str = "", hide: Collection[str] = ()) -> ConfigError:
    """The first error as a `ConfigError` that names the setting, its value, and the key nearest to an unknown one.

    Args:
        error: what pydantic raised.
        cls: the model or dataclass that was validated.
        where: what stands before the names of its fields (``compare.born.training`` …).
        hide: steps of pydantic's path that a user does not write, such as the tags of a union.
    """
    first = error.errors()[0]
    path = [str(step) for step in first["loc"] if step not in hide]
    name = ".".join([*([where] if where else []), *path])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = sorted(set(_fields(cls, path[:-1])) - {path[-1]})
        return ConfigError(f"unknown key {name!r}", "", nearest(path[-1], known) if known else "remove it")
    if first["type"] in ("missing", "missing_argument"):
        return ConfigError(f"no {name!r}", "a value", "add it to the experiment")
    return ConfigError(f"{name} = {first['input']!r}" if path else f"{where or cls.__name__}", _plain(first["msg"]))


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input should be ")
    return message[:1].lower() + message[1:]


def _fields(cls: Any, path: list[str]) -> list[str]:
    """The names that are allowed below ``path``; those of all alternatives where there are several."""
    current = list(_classes(cls))
    for step in path:
        below = [_annotations(outer)[step] for outer in current if step in _annotations(outer)]
        # a step that is no field is a key of a table or an index of a list
        current = [inner for annotation in below for inner in _classes(annotation)] if below else current
    return [name for each in current for name in _annotations(each)]


def _annotations(cls: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation) or issubclass(annotation, pydantic.BaseModel)
    ):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _classes(inner)
