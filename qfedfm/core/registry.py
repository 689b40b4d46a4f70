"""The register of parts: one decorator in a part's own file makes it known to configurations, reports and tests."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pydantic

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.core.parts import Part
from qfedfm.core.validation import explain

P = TypeVar("P", bound=type[Part])

FOLDERS = (
    "qfedfm.layers",
    "qfedfm.reduces",
    "qfedfm.server",
    "qfedfm.clients.attacks",
    "qfedfm.clients.methods",
    "qfedfm.incentives.selectors",
    "qfedfm.quantum.executors",
    "qfedfm.incentives.contributions",
)
"""Where parts live. Every module in them is imported when the register is first read."""


@dataclass(frozen=True)
class Entry:
    """One line of ``qfedfm methods``.

    Args:
        kind: what sort of part it is (``reduce``, ``codec`` …).
        name: the name that a configuration uses.
        part: the class.
        paper: where it is from.
        quantum: whether a circuit runs inside.
        twins: names of the parts with the same role and inputs but no circuit; the comparison is with the strongest.
        control_of: the part that this one is an ablation of, if any.
    """

    kind: str
    name: str
    part: type[Part]
    paper: str
    quantum: bool
    twins: tuple[str, ...]
    control_of: str


_entries: dict[tuple[str, str], Entry] = {}
_discovered: set[str] = set()


def part(
    name: str, *, paper: str, quantum: bool = False, twins: tuple[str, ...] = (), control_of: str = ""
) -> Callable[[P], P]:
    """Registers a frozen dataclass as the part ``name`` of its kind; see `Entry` for the arguments."""

    def join(cls: P) -> P:
        cls.name = name
        entry = Entry(cls.kind, name, cls, paper, quantum, twins, control_of)
        known = _entries.get((cls.kind, name))
        if known is not None and (known.part.__module__, known.part.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(f"two parts of kind {cls.kind} called {name!r}", "different names")
        _entries[cls.kind, name] = entry
        return cls

    return join


def discover() -> None:
    """Imports every module in the folders of parts, so that their decorators have run."""
    importlib.import_module("qfedfm.core.float32")  # the codec of a stack that names none lives below the folders
    for folder in FOLDERS:
        if folder not in _discovered:
            package = importlib.import_module(folder)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{folder}.{module.name}")
            _discovered.add(folder)


def entries(kind: str | None = None) -> list[Entry]:
    """All registered parts, or those of one kind, by kind and name."""
    discover()
    return [entry for key, entry in sorted(_entries.items()) if kind in (None, entry.kind)]


def find(kind: str, name: str) -> Entry:
    """The part of a kind with a name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    discover()
    entry = _entries.get((kind, name))
    if entry is None:
        names = [other.name for other in entries(kind)]
        raise ConfigError(f"unknown {kind} {name!r}", "a name that `qfedfm methods` lists", nearest(name, names))
    return entry


def build(kind: str, config: str | Mapping[str, Any]) -> Any:
    """A part from its configuration: a name, or a mapping of ``name`` and the part's fields.

    Raises:
        ConfigError: the name or a field is unknown, or a value has the wrong type or is out of range.
    """
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"a {kind} without a name", f'name = "…" beside its options {sorted(options)}')
    cls = find(kind, name).part
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for option in options:
        if option not in fields:
            raise ConfigError(
                f"unknown option {option!r} of {kind} {name!r}",
                "",
                nearest(option, fields) if fields else "it has none",
            )
    try:
        return pydantic.TypeAdapter(cls).validate_python(options)
    except pydantic.ValidationError as error:
        raise explain(error, cls, f"{kind} {name!r}") from None


def describe(built: Part) -> dict[str, Any]:
    """The configuration that `build` would make this part from."""
    fields = dataclasses.fields(built)  # type: ignore[arg-type]
    return {"name": built.name, **{field.name: _plain(getattr(built, field.name)) for field in fields}}


def _plain(value: Any) -> Any:
    """A part within a part as its configuration, another dataclass as its fields."""
    if isinstance(value, Part):
        return describe(value)
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]


def lookup(folder: str, attribute: str) -> Any:
    """The part of a folder by its class name: what ``qf.reduces.Krum`` resolves to."""
    if attribute.startswith("_"):  # a module that the import system is about to look for
        raise AttributeError(f"{folder} has no {attribute!r}")
    for entry in entries():
        if entry.part.__module__.startswith(folder + ".") and entry.part.__name__ == attribute:
            return entry.part
    names = [entry.part.__name__ for entry in entries() if entry.part.__module__.startswith(folder + ".")]
    raise AttributeError(f"{folder} has no {attribute!r}; {nearest(attribute, names)}")
