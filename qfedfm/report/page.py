"""The report: one HTML page that opens anywhere, without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qfedfm.core.errors import CheckpointError
from qfedfm.report import figures, protection, rows, where
from qfedfm.report.circuit import Drawing, circuits
from qfedfm.report.figures import Panel
from qfedfm.report.look import VARIABLES, Look, looks
from qfedfm.report.study import Study, study

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """One study on the page.

    Args:
        study: what was found.
        looks: colours and markers, shared by all studies of the page.
        prefix: put in front of ids, different for each study.
    """

    study: Study
    looks: Mapping[str, Look]
    prefix: str

    @cached_property
    def first(self) -> list[Panel]:
        """The figures that belong beside the conclusion."""
        found = (draw(self.study, self.looks, self.prefix) for draw in (figures.forest, figures.final, figures.pareto))
        return [panel for panel in found if panel is not None]

    @cached_property
    def curves(self) -> list[Panel]:
        """Accuracy by round, by bytes and by client."""
        return figures.curves(self.study, self.looks, self.prefix)

    @cached_property
    def weights(self) -> list[Panel]:
        """Client weights, a panel for each method that reports them."""
        return figures.weights(self.study, self.looks, self.prefix)

    @cached_property
    def circuits(self) -> list[Drawing]:
        """The circuits of the quantum methods."""
        return circuits(self.study, self.prefix)

    @property
    def state(self) -> str:
        """A sentence on what is missing; empty when every run has finished."""
        missing = self.study.missing
        if not missing:
            return ""
        wanted = len(missing) + len({(run["method"], run["seed"]) for run in self.study.runs} - set(missing))
        return (
            f"This comparison is still running or was interrupted: {wanted - len(missing)} of {wanted} runs have "
            f"finished{self._rounds()}. What follows is what there is so far and may change."
        )

    def _rounds(self) -> str:
        """How far the runs are that have not finished."""
        rounds = self.study.experiment.get("rounds")
        played = {run["rounds"] for run in self.study.runs if run.get("rounds", rounds) != rounds}
        if not played:
            return ""
        return f"; the others are after round {' or '.join(map(str, sorted(played)))} of {rounds}"

    @property
    def settings(self) -> str:
        """The whole configuration, indented."""
        return json.dumps(self.study.experiment, indent=2, ensure_ascii=False)


def write_report(*folders: str | Path, out: str | Path | None = None) -> Path:
    """Writes one self-contained page about one or several folders that ``qfedfm run`` wrote; the runs need not be done.

    The same input gives the same bytes.

    Args:
        folders: at least one.
        out: the file to write; default ``report.html`` in the first folder.

    Returns:
        The path of the page.

    Raises:
        CheckpointError: no folder is given, or one is missing, foreign or damaged.
    """
    if not folders:
        raise CheckpointError("no folder", "at least one that `qfedfm run` wrote")
    path = Path(out) if out is not None else Path(folders[0]) / "report.html"
    text = page([study(folder) for folder in folders])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path


def page(studies: Sequence[Study]) -> str:
    """The page as text."""
    import jinja2

    look = looks(studies)
    sections = [Section(each, look, f"s{index}-") for index, each in enumerate(studies)]
    loader = jinja2.FileSystemLoader(_HERE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.get_template("page.html.j2")
    tables = {"rows": rows, "where": where, "protection": protection}
    return template.render(sections=sections, **tables, light=_variables(0), dark=_variables(1))


def _variables(theme: int) -> str:
    values = {name: (light, dark)[theme] for light, (name, dark) in VARIABLES.items()}
    return " ".join(f"--{name}: {value};" for name, value in values.items())
