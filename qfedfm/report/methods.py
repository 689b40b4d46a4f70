"""The list of all parts."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.table import Table

from qfedfm.core.parts import Part
from qfedfm.core.registry import Entry, describe, entries


def listing() -> list[dict[str, Any]]:
    """Every registered part as JSON values, by kind and name."""
    return [_line(entry) for entry in entries()]


def _line(entry: Entry) -> dict[str, Any]:
    fields = dataclasses.fields(entry.part)  # type: ignore[arg-type]
    return {
        "kind": entry.kind,
        "name": entry.name,
        "quantum": entry.quantum,
        "twins": list(entry.twins),
        "control_of": entry.control_of or None,
        "paper": entry.paper,
        "options": {field.name: _default(field) for field in fields},
        "laws": sorted(law.value for law in entry.part.laws),
        "exempt": {law.value: reason for law, reason in entry.part.exempt.items()},
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        default = field.default
    else:
        default = None if field.default_factory is dataclasses.MISSING else field.default_factory()
    return describe(default) if isinstance(default, Part) else default


def methods_table() -> Table:
    """The list for a terminal."""
    table = Table("kind", "name", "quantum", "twins", "options", "paper", box=None)
    for line in listing():
        role = "yes" if line["quantum"] else ""
        twins = ", ".join(line["twins"]) or (f"control of {line['control_of']}" if line["control_of"] else "")
        options = ", ".join(f"{name}={value}" for name, value in line["options"].items())
        table.add_row(line["kind"], line["name"], role, twins, options, line["paper"])
    exempt = [
        f"{line['name']} is exempt from “{law}”: {reason}"
        for line in listing()
        for law, reason in line["exempt"].items()
    ]
    table.caption = "\n".join(exempt) or None
    table.caption_justify = "left"
    return table
