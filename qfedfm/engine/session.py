"""One session of a run: tuning, all runs wave by wave, and the files that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from qfedfm.core.phases import phase
from qfedfm.core.progress import Event, Watch
from qfedfm.engine.arm import Arm
from qfedfm.engine.environment import environment
from qfedfm.engine.files import write_folder, writing
from qfedfm.engine.folder import Folder
from qfedfm.engine.result import Result
from qfedfm.engine.results import assemble, client_lines, run_line
from qfedfm.engine.setting import Bench
from qfedfm.engine.tracks import Track, line_up, start_all, waves
from qfedfm.engine.tune import Trial, choose, trials

_WRITING = 20
"""Unfinished results are written again when this many times as long has passed as writing them took."""


class Session:
    """One session of a run: what is finished so far, and the count for whoever watches.

    Args:
        bench: what all runs share.
        folder: where everything is kept.
        watch: called after each round of each run.
    """

    def __init__(self, bench: Bench, folder: Folder, watch: Watch) -> None:
        self.bench, self.folder, self.watch = bench, folder, watch
        self.experiment, self.trials = bench.experiment, trials(bench.experiment)
        runs = len(self.experiment.seeds) * len(self.experiment.methods)
        self.done, self.total = 0, runs * self.experiment.total_rounds + len(self.trials) * self._trial_rounds()
        self._began, self._played, self._steps = 0.0, 0, 0

    def _trial_rounds(self) -> int:
        tuning = self.experiment.tune
        return (tuning.rounds if tuning is not None else None) or self.experiment.total_rounds

    def run(self) -> Result:
        """Tunes, plays all runs to their end, and writes results and report."""
        tuning = self._tune() if self.trials else None
        chosen = tuning["chosen"] if tuning else {}
        arms = {method: self.experiment.arm(method, chosen.get(method)) for method in self.experiment.methods}
        tracks = [self._track(arm, seed) for seed in self.experiment.seeds for arm in arms.values()]
        line_up(tracks)
        self.folder.rewrite_history(_lines(tracks))
        report = _Results(self.bench, self.folder, tracks, arms, tuning)
        kept = [track.finished for track in tracks]
        for track in start_all(self.bench.engine, tracks):
            self.folder.append_history(_line(track, track.current.history[0]))
        self._play("round", tracks, report.write_unfinished)
        for track, known in zip(tracks, kept, strict=True):
            report.save_adapter(track, known)
        self.folder.rewrite_history(_lines(tracks))  # in the same order however often the run was interrupted
        report.write()
        self.watch(Event("report", done=self.total, total=self.total))
        result = Result(self.folder.path)
        with writing(self.folder.path / "report.html"):
            result.write_report()
        return result

    def _track(self, arm: Arm, seed: int) -> Track:
        archive = self.folder.archive(arm.name, seed)
        setting = self.bench.setting(arm, seed, self.experiment.total_rounds, states=archive.states)
        return Track(arm.name, seed, setting, archive)

    def _tune(self) -> dict[str, Any]:
        """Plays all trials that have no score yet together, and chooses."""
        scores = self.folder.tuning()
        left = [trial for trial in self.trials if trial.name not in scores]
        tracks = [self._trial(trial) for trial in left]
        line_up(tracks)
        start_all(self.bench.engine, tracks)
        self.done += (len(self.trials) - len(left)) * self._trial_rounds()
        self._play("tune", tracks)
        for trial, track in zip(left, tracks, strict=True):
            scores[trial.name] = float(track.current.history[-1]["tuning_accuracy"])
        if left:
            self.folder.write_tuning({trial.name: scores[trial.name] for trial in self.trials})
        self.folder.remove_trials()
        return choose(self.experiment, scores)

    def _trial(self, trial: Trial) -> Track:
        arm, archive = self.experiment.arm(trial.method, trial.settings), self.folder.trial(trial)
        setting = self.bench.setting(arm, trial.seed, self._trial_rounds(), test=False, states=archive.states)
        return Track(trial.method, trial.seed, setting, archive)

    def _play(self, stage: str, tracks: Sequence[Track], after: Callable[[], None] = lambda: None) -> None:
        self.done += sum(track.round for track in tracks)
        self._began = self._began or time.monotonic()
        for wave in waves(self.bench.engine, tracks):
            self._played += len(wave)
            self._steps += sum(state.history[-1]["client_steps"] for _, state in wave)
            seconds = time.monotonic() - self._began
            left = seconds / self._played * (self.total - self.done - len(wave))
            for track, state in wave:
                record = state.history[-1]
                with phase("save"):
                    track.advance(state)
                    if stage == "round":
                        self.folder.append_history(_line(track, record))
                self.done += 1
                rate = self._steps / seconds if seconds else None
                self.watch(Event(stage, track.name, track.seed, self.done, self.total, record, rate, left))
            after()


class _Results:
    """Writes ``results.json`` and the adapters of a session's runs."""

    def __init__(
        self, bench: Bench, folder: Folder, tracks: Sequence[Track], arms: Mapping[str, Arm], tuning: Any
    ) -> None:
        self._bench, self._folder, self._tracks, self._arms, self._tuning = bench, folder, tracks, arms, tuning
        self._about = {**environment(bench.engine.plan()), "config_hash": bench.experiment.digest}
        self._clients = client_lines(tracks[0].setting)
        self._again = 0.0

    def write_unfinished(self) -> None:
        """Writes what there is so far, unless that would take a noticeable share of the time."""
        clock = time.monotonic()
        if clock >= self._again and not all(track.finished for track in self._tracks):
            with phase("save"):
                self.write()
            self._again = time.monotonic() + _WRITING * (time.monotonic() - clock)

    def write(self) -> None:
        """Replaces ``results.json`` by all runs that have played at least a round."""
        lines = [
            run_line(track.setting, track.seed, track.current, self._arms, self._adapter(track))
            for track in self._tracks
            if track.round
        ]
        complete = all(track.finished for track in self._tracks)
        settings = self._bench.experiment.settings
        self._folder.write_results(assemble(settings, self._about, lines, self._clients, self._tuning, complete))

    def _adapter(self, track: Track) -> str | None:
        path = self._folder.adapter(track.name, track.seed)
        return path.relative_to(self._folder.path).as_posix() if path.exists() else None

    def save_adapter(self, track: Track, known: bool) -> None:
        """Writes the tuned adapters; those that are ``known`` from an earlier session only where they are gone."""
        save, clusters = getattr(self._bench.task, "save_adapter", None), track.current.clusters.models
        if save is None:
            return
        for label, model in ((None, track.current.model), *enumerate(clusters)):
            path = self._folder.adapter(track.name, track.seed, label)
            if not (known and path.exists()):
                write_folder(path, partial(save, model))


def _line(track: Track, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": track.name, "seed": track.seed, **record}


def _lines(tracks: Sequence[Track]) -> Iterable[Mapping[str, Any]]:
    """The history of all runs in the order in which waves are played."""
    rounds = max((track.round for track in tracks), default=0)
    return [
        _line(track, track.state.history[number])
        for number in range(rounds + 1)
        for track in tracks
        if track.state is not None and number < len(track.state.history)
    ]
