"""From pydantic's list of errors to the one line that a user reads."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union

import pydantic

from qfedfm.core.errors import ConfigError, nearest

_PLAIN = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dataclass_type": "a table",
    "dict_type": "a table",
    "float_parsing": "a valid number",
    "int_parsing": "a valid integer",
    "list_type": "a list",
    "model_attributes_type": "a table",
    "model_type": "a table",
    "string_type": "a text in quotes",
    "tuple_type": "a list",
    "union_tag_not_found": "a table",
}
"""What was expected, in the words of a configuration file, where pydantic speaks of Python."""
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_MISSING = ("missing", "missing_argument")
_WRONG_TYPE = ("_type", "_parsing", "_from_float")
_LONGEST = 80
"""Characters of a value that are shown."""


def explain(error: pydantic.ValidationError, cls: Any, where: str = "", file: str = "the experiment") -> ConfigError:
    """The first error as a `ConfigError` that names the setting, its value, and the key nearest to an unknown one.

    Args:
        error: what pydantic raised.
        cls: the model or dataclass that was validated.
        where: what stands before the names of its fields (``compare.born.training`` …).
        file: what the settings are of.
    """
    first, path = _first(error, cls)
    name = ".".join([*([where] if where else []), *path])
    if first["type"] in _UNKNOWN:
        known = sorted(set(_fields(_reach(cls, first["loc"][:-1])[1])) - {path[-1]})
        return ConfigError(f"unknown key {name!r}", "", nearest(path[-1], known) if known else "remove it")
    if first["type"] in _MISSING:
        return ConfigError(f"no {name!r}", "a value", f"add it to {file}")
    expected = " or ".join(dict.fromkeys(_expected(each) for each in _alternatives(error, cls, path)))
    if first["type"] == "union_tag_invalid":
        tag, name = first["ctx"]["tag"], f"{name}.{first['ctx']['discriminator'].strip(chr(39)).strip('_()')}"
        return ConfigError(f"{name} = {tag!r}", expected)
    if not path:
        return ConfigError(where or cls.__name__, expected)
    if first["type"] == "value_error" and isinstance(first["input"], Mapping):
        return ConfigError(f"[{name}]", expected)
    return ConfigError(f"{name} = {shown(first['input'])}", expected)


def shown(value: Any) -> str:
    """The value as Python writes it, in one line and cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _first(error: pydantic.ValidationError, cls: Any) -> tuple[Any, list[str]]:
    """The first error, or, where it is about a whole union, the one inside it: the branch that the user meant."""
    found = [(each, _reach(cls, each["loc"])[0]) for each in error.errors()]
    top = found[0][1]
    below = [pair for pair in found if pair[1][: len(top)] == top]
    return max(below, key=lambda pair: len(pair[1]))


def _alternatives(error: pydantic.ValidationError, cls: Any, path: list[str]) -> list[Any]:
    """The errors about one setting, one for each branch of its union; not those about the type, if it suits one."""
    same = [each for each in error.errors() if _reach(cls, each["loc"])[0] == path]
    suits = [each for each in same if not each["type"].endswith(_WRONG_TYPE)]
    return suits if any(each["type"] != "literal_error" for each in suits) else same


def _expected(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "union_tag_invalid":
        return " or ".join(context["expected_tags"].rsplit(", ", 1))
    if kind == "too_short":
        return f"at least {context['min_length']} value" + ("s" if context["min_length"] > 1 else "")
    if kind == "string_pattern_mismatch":
        return f"a text that matches {context['pattern']}"
    message = _PLAIN.get(kind) or error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return str(message[:1].lower() + message[1:])


def _reach(cls: Any, location: Sequence[int | str]) -> tuple[list[str], list[Any]]:
    """The keys that a user writes on pydantic's path, without its names of a union's branches, and what lies there."""
    path: list[str] = []
    current, branches = [cls], False
    for step in location:
        if branches:  # this step says which branch of a union pydantic tried
            branches = False
            continue
        path.append(str(step))
        below = [inner for each in current for inner in _below(each, str(step))]
        branches = any(len(_union(each)) > 1 for each in below)
        current = [branch for each in below for branch in _union(each)]
    return path, current


def _below(annotation: Any, step: str) -> Iterator[Any]:
    """The annotations of what lies under one key of a model or a table, or at one place of a list."""
    if _has_fields(annotation):
        hints = _annotations(annotation)
        yield from [hints[step]] if step in hints else []
    elif typing.get_origin(annotation) in (dict, Mapping):
        yield typing.get_args(annotation)[1]
    elif typing.get_origin(annotation) in (tuple, list):
        yield from {arg: None for arg in typing.get_args(annotation) if arg is not Ellipsis}


def _union(annotation: Any) -> list[Any]:
    """The branches of a union without None; an annotation that is no union is its own only branch."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return [annotation]
    branches = [each for each in typing.get_args(annotation) if each is not type(None)]
    return [inner for each in branches for inner in _union(each)]


def _fields(annotations: Sequence[Any]) -> list[str]:
    return [name for each in annotations if _has_fields(each) for name in _annotations(each)]


def _has_fields(annotation: Any) -> bool:
    return isinstance(annotation, type) and (
        dataclasses.is_dataclass(annotation) or issubclass(annotation, pydantic.BaseModel)
    )


def _annotations(cls: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls)
        return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}
