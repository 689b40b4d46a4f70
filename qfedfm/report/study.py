"""One folder of results, finished or not, and what the report derives from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qfedfm.report.read import read_devices, read_run
from qfedfm.report.summary import conclude, declared, methods_of, summarise

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """One comparison as its files tell it, with what the report derives from them.

    Args:
        results: the contents of ``results.json``; an empty mapping while no run has finished.
        history: the lines of ``history.jsonl``.
        folder: the name of the folder, used where the experiment has no name.
        devices: what devices made of the circuits of its runs.
    """

    results: Mapping[str, Any]
    history: Sequence[Line] = ()
    folder: str = ""
    devices: Sequence[Line] = ()

    @property
    def name(self) -> str:
        """What the study is called."""
        return str(self.experiment.get("name") or self.folder or "experiment")

    @property
    def experiment(self) -> Mapping[str, Any]:
        """The configuration."""
        return self.results.get("experiment") or {}

    @property
    def runs(self) -> Sequence[Mapping[str, Any]]:
        """The runs that the file has: finished, or as far as they were when it was written."""
        return self.results.get("runs") or ()

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """All methods that left anything, in the order of the experiment where it says one."""
        seen = [*methods_of(self.runs), *methods_of(self.history)]
        order = [*(self.experiment.get("compare") or {}), *seen]
        return tuple(method for method in dict.fromkeys(order) if method in set(seen))

    @cached_property
    def quantum(self) -> frozenset[str]:
        """The methods with a circuit inside."""
        return frozenset(run["method"] for run in self.runs if run.get("quantum"))

    @cached_property
    def summary(self) -> Sequence[Mapping[str, Any]]:
        """The summary in the file, or, while there is none, that of the runs that are there."""
        if self.results.get("summary"):
            return self.results["summary"]  # type: ignore[no-any-return]
        return summarise(self.runs, *declared(self.runs), self.results.get("tuning"))

    @cached_property
    def conclusion(self) -> Sequence[str]:
        """The sentences in the file, or those that follow from the runs that are there."""
        return self.results.get("conclusion") or conclude(self.summary, self.runs)

    @cached_property
    def missing(self) -> tuple[tuple[str, int], ...]:
        """Pairs of method and seed that the experiment names and that have not finished."""
        methods = self.experiment.get("compare") or self.methods
        rounds = self.experiment.get("rounds")
        done = {(run["method"], run["seed"]) for run in self.runs if run.get("rounds", rounds) == rounds}
        wanted = [(method, seed) for method in methods for seed in self.experiment.get("seeds") or ()]
        return tuple(pair for pair in wanted if pair not in done)

    def client(self, client: int | str) -> str:
        """The name of a client."""
        known = (self.results.get("clients") or {}).get(str(client)) or {}
        return str(known.get("name") or f"client {client}")

    def traces(self, method: str) -> Iterator[Sequence[Line]]:
        """The history of each seed of a method, by round; seeds that are not as far as the furthest are left out.

        Averaging over seeds that stop at different rounds would draw a step where one drops out.
        """
        seeds: dict[int, dict[int, Line]] = {}
        for line in self.history:
            if line["method"] == method:
                seeds.setdefault(line["seed"], {})[line["round"]] = line
        furthest = max((max(rounds) for rounds in seeds.values()), default=0)
        for _, rounds in sorted(seeds.items()):
            if max(rounds) == furthest:
                yield [rounds[number] for number in sorted(rounds)]


def study(folder: str | Path) -> Study:
    """The study in a folder; see `read_run` and `read_devices`."""
    return Study(*read_run(folder), Path(folder).resolve().name, read_devices(folder))
