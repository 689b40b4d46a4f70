"""Live progress in the terminal: rounds, clients, loss, accuracy, client-steps per second, time left."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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
        TimeElapsedColumn(), TextColumn("{task.fields[pace]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("preparing model and data", total=None, pace="")

        def watch(event: Event) -> None:
            if event.stage == "warning":
                console.print(f"warning: {event.note}", highlight=False, markup=False, soft_wrap=True)
                return
            total = event.total or None
            progress.update(bar, description=describe(event), completed=event.done, total=total, pace=pace(event))
            if not console.is_terminal:
                count = f"[{event.done}/{event.total}] " if event.total else ""
                after = f" ({pace(event)})" if pace(event) else ""
                console.print(f"{count}{describe(event)}{after}", highlight=False, markup=False, soft_wrap=True)

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


def pace(event: Event) -> str:
    """Client-steps per second so far and the time left, where they are known.

    Example:
        >>> pace(Event("round", rate=31.4, left=754.0))
        '31.4 client-steps/s, 12:34 left'
    """
    said = [] if event.rate is None else [f"{event.rate:.3g} client-steps/s"]
    if event.left is not None:
        minutes, seconds = divmod(math.ceil(event.left), 60)
        hours, minutes = divmod(minutes, 60)
        said.append(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")
    return ", ".join(said)
