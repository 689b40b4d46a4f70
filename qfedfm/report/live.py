"""Live progress in the terminal: rounds, clients, loss, accuracy, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from qfedfm.core.progress import Event, Watch

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def live(console: Console) -> Iterator[Watch]:
    """A progress bar that lives as long as the block; gives what to call after each round.

    Where the console is no terminal, a line a round is printed instead.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("rounds"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("preparing model and data", total=None)

        def watch(event: Event) -> None:
            progress.update(bar, description=describe(event), completed=event.done, total=event.total or None)
            if not console.is_terminal:
                count = f"[{event.done}/{event.total}] " if event.total else ""
                console.print(f"{count}{describe(event)}", highlight=False, markup=False)

        yield watch


def describe(event: Event) -> str:
    """One line about an event."""
    if event.stage == "prepare":
        return "preparing model and data"
    if event.stage == "report" or event.record is None:
        return "writing the report"
    record = event.record
    loss = "" if record["train_loss"] is None else f", loss {record['train_loss']:.3f}"
    head = f"{'tuning ' if event.stage == 'tune' else ''}{event.method} seed {event.seed} round {record['round']}"
    accuracy = f", accuracy {record['accuracy']:.3f}" if "accuracy" in record else ""
    return f"{head}: {len(record['participants'])} clients{loss}{accuracy}"
