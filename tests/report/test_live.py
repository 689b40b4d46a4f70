"""What a terminal, and a file that stands for one, see of a run."""

import io

import pytest
from rich.console import Console

from qfedfm.core.progress import Event
from qfedfm.report.live import live, pace

RECORD = {"round": 3, "participants": [1, 2], "train_loss": 0.5, "accuracy": 0.25}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event("round"), ""),
        (Event("round", rate=123.4), "123 client-steps/s"),
        (Event("round", rate=0.0123, left=0.0), "0.0123 client-steps/s, 0:00 left"),
        (Event("round", left=59.2), "1:00 left"),
        (Event("round", left=3599.0), "59:59 left"),
        (Event("round", left=3600.0), "1:00:00 left"),
        (Event("round", left=90_061.0), "25:01:01 left"),
    ],
)
def test_pace(event, said):
    assert pace(event) == said


def test_a_line_a_round_without_a_terminal():
    out = io.StringIO()
    with live(Console(file=out, width=40)) as watch:
        watch(Event("warning", note="this run was begun with other software: numpy 1.0 then, 2.0 now"))
        watch(Event("prepare"))
        watch(Event("round", "mean", 7, 3, 8, RECORD, 20.0, 65.0))
        watch(Event("tune", "mean", 7, 4, 8, {**RECORD, "train_loss": None}))
        watch(Event("report", done=8, total=8))
    assert out.getvalue().splitlines() == [
        "warning: this run was begun with other software: numpy 1.0 then, 2.0 now",
        "preparing model and data",
        "[3/8] mean seed 7 round 3: 2 clients, loss 0.500, accuracy 0.250 (20 client-steps/s, 1:05 left)",
        "[4/8] tuning mean seed 7 round 3: 2 clients, accuracy 0.250",
        "[8/8] writing the report",
    ]


def test_a_bar_in_a_terminal():
    out = io.StringIO()
    with live(Console(file=out, width=200, force_terminal=True)) as watch:
        watch(Event("round", "mean", 7, 3, 8, RECORD, 20.0, 65.0))
    assert "20 client-steps/s, 1:05 left" in out.getvalue()
    assert "3/8" in out.getvalue()
