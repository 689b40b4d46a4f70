"""Writes docs/methods.md from the register of parts: `python docs/methods.py`."""

from __future__ import annotations

from pathlib import Path

from qfedfm.core import registry

PAGE = Path(__file__).with_name("methods.md")
HEAD = """# Parts

Every part that an experiment can name, by kind. ◆ marks parts with a quantum circuit inside; a comparison that contains
one also contains a classical twin, which has the same role and inputs without the circuit. A control is the quantum
part with something taken away. Written by `python docs/methods.py` from the register; `qfedfm methods` prints the same.
"""


def page(entries: list[registry.Entry]) -> str:
    """The page as Markdown: one table for each kind."""
    lines = [HEAD]
    for kind in sorted({entry.kind for entry in entries}):
        lines += [f"## {kind.capitalize()}\n", "| name | paper | twins or control | exempt from |", "|---|---|---|---|"]
        lines += [row(entry) for entry in entries if entry.kind == kind] + [""]
    return "\n".join(lines)


def row(entry: registry.Entry) -> str:
    """One part as a line of a table."""
    mark = " ◆" if entry.quantum else ""
    relation = ", ".join(f"`{twin}`" for twin in entry.twins)
    if entry.control_of:
        relation = f"control of `{entry.control_of}`"
    exempt = "; ".join(f"{law.name.lower()}: {reason}" for law, reason in entry.part.exempt.items())
    cells = (f"`{entry.name}`{mark}", entry.paper, relation, exempt)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(registry.entries()), encoding="utf-8")
