"""What stays the same over the rounds of a run: what its seed draws, and how its method trains and aggregates."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from qfedfm.adapters.tensors import vector_of
from qfedfm.clients.attack import Attack
from qfedfm.clients.jobs import ClientEngine
from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.core.stack import Bound, bind
from qfedfm.engine.arm import Arm
from qfedfm.engine.capacities import held_by
from qfedfm.engine.clientstates import ClientStates, InMemory
from qfedfm.engine.evaluate import Tested
from qfedfm.engine.experiment import Experiment, Hostile
from qfedfm.engine.keysources import Links
from qfedfm.engine.machine import client_engine
from qfedfm.engine.masks import Masks, check_summed
from qfedfm.engine.security import Ends, check_keys, predicted_key_bits
from qfedfm.incentives.participation import Participation
from qfedfm.split import Federation
from qfedfm.tasks.protocol import Split, Task


@dataclass(frozen=True)
class Drawn:
    """What a seed draws, the same for all methods.

    Args:
        task: model and data.
        key: the seed's key.
        split: who holds which rows.
        clients: all client ids, ascending.
        hostile: ids of the hostile clients.
        attack: what they do, or None.
    """

    task: Task
    key: Key
    split: Split
    clients: tuple[ClientId, ...]
    hostile: frozenset[ClientId]
    attack: Attack | None

    @cached_property
    def tested(self) -> Tested:
        """The test sets."""
        return Tested.of(self.split)

    @property
    def rows(self) -> np.ndarray:
        """All rows that a run on this seed can look at, ascending."""
        held = (*self.split.train.values(), *self.split.test.values(), self.split.validation, self.split.tuning)
        return np.asarray(np.unique(np.concatenate(held)))

    @cached_property
    def sizes(self) -> frozenset[int]:
        """The different numbers of training rows that clients have."""
        return frozenset(len(rows) for rows in self.split.train.values())

    @cached_property
    def adapter(self) -> Float32[np.ndarray, " d"]:
        """The untrained model."""
        return vector_of(self.task.model(self.key.fold("adapter")))


def draw(task: Task, seed: int, hostile: Hostile | None) -> Drawn:
    """All that a seed draws.

    Raises:
        DataError: a client has nothing to train on, or nobody has anything to be tested on.
        ConfigError: there are not as many clients, or not those, that are to be hostile.
    """
    key = Key.of(seed)
    split = task.split(key.fold("split"))
    clients = split.clients
    for client in clients:
        if not len(split.train[client]):
            given = f"client {client} ({split.names[client]}) without training rows"
            raise DataError(given, "at least one row for every client", "take fewer clients or bring more data")
    if not any(len(rows) for rows in split.test.values()):
        raise DataError("a split without test rows", "at least one", "bring more data")
    ids = _hostile(hostile, clients, key)
    return Drawn(task, key, split, clients, ids, hostile.build() if hostile is not None and ids else None)


def _hostile(hostile: Hostile | None, clients: tuple[ClientId, ...], key: Key) -> frozenset[ClientId]:
    if hostile is None or hostile.clients in (0, ()):
        return frozenset()
    count = hostile.clients if isinstance(hostile.clients, int) else len(hostile.clients)
    if count >= len(clients):
        raise ConfigError(f"{count} hostile clients of {len(clients)}", "at least one honest client")
    if isinstance(hostile.clients, int):
        drawn = key.fold("hostile").numpy().choice(clients, count, replace=False)
        return frozenset(int(client) for client in drawn)
    unknown = set(hostile.clients) - set(clients)
    if unknown:
        raise ConfigError(f"hostile client {min(unknown)}", f"ids of clients, {clients}")
    return frozenset(hostile.clients)


@dataclass(frozen=True)
class Setting:
    """What stays the same over the rounds of one run (one method, one seed).

    Args:
        arm: the method: whom it invites, local training, aggregator, server optimiser.
        bound: the arm's aggregator bound to the layout and the population.
        drawn: what the seed draws.
        engine: trains and evaluates.
        participation: who takes part.
        rounds: how many there will be, for the learning rate's schedule.
        epoch: how often the run was resumed.
        test: whether the test rows are looked at after each round; a trial of the tuning never does.
        states: where the clients' own states lie.
        federation: of a method with a topology what that plays its rounds on, else None.
        later: of a method with stages the later ones, each with its first round.
        ends: the keys of the run; None where nothing is sealed.
        masks: the parties of a summed layer; None where the server decodes single updates.
    """

    arm: Arm
    bound: Bound
    drawn: Drawn
    engine: ClientEngine
    participation: Participation
    rounds: int
    epoch: int = 0
    test: bool = True
    states: ClientStates = field(default_factory=InMemory)
    federation: Federation | None = None
    later: tuple[tuple[int, Setting], ...] = ()
    ends: Ends | None = field(default=None, repr=False)
    masks: Masks | None = field(default=None, repr=False)

    def of(self, round_: int) -> Setting:
        """The setting of the stage that a round belongs to."""
        return next((setting for first, setting in reversed(self.later) if first <= round_), self)

    @property
    def task(self) -> Task:
        """Model and data."""
        return self.drawn.task

    @property
    def split(self) -> Split:
        """Who holds which rows."""
        return self.drawn.split

    @property
    def key(self) -> Key:
        """The seed's key."""
        return self.drawn.key

    @property
    def hostile(self) -> frozenset[ClientId]:
        """Ids of the hostile clients."""
        return self.drawn.hostile


@dataclass(frozen=True)
class Bench:
    """A task with the engine that trains it: what all methods and seeds of an experiment share."""

    experiment: Experiment
    task: Task
    engine: ClientEngine
    epoch: int = 0
    links: Links | None = field(default=None, repr=False)
    _drawn: dict[int, Drawn] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def build(
        cls,
        experiment: Experiment,
        task: Task,
        seeds: Iterable[int],
        plan: Mapping[str, str] | None,
        epoch: int,
        links: Links | None = None,
    ) -> Bench:
        """Draws what belongs to the seeds, and builds the engine for their rows.

        Args:
            experiment: the configuration.
            task: model and data.
            seeds: all that will be played.
            plan: the engine's choices in an earlier session, or None.
            epoch: earlier sessions.
            links: sources of keys between server and clients; None for simulated ones.
        """
        drawn = {seed: draw(task, seed, experiment.hostile) for seed in seeds}
        rows = np.unique(np.concatenate([one.rows for one in drawn.values()]))
        return cls(experiment, task, client_engine(experiment.engine, task, plan, rows), epoch, links, drawn)

    def drawn(self, seed: int) -> Drawn:
        """What a seed draws, drawn once."""
        if seed not in self._drawn:
            self._drawn[seed] = draw(self.task, seed, self.experiment.hostile)
        return self._drawn[seed]

    def setting(
        self, arm: Arm, seed: int, rounds: int, *, test: bool = True, states: ClientStates | None = None
    ) -> Setting:
        """One run of a method on a seed, with all its stages."""
        kept = InMemory() if states is None else states
        run = f"{self.experiment.digest}/{arm.name}/{seed}"
        ends = self.experiment.security.ends(run, self.epoch, self.links)
        parts = [one for _, one in arm.later]
        stages = [self._stage(one, seed, rounds, test, kept, ends) for one in (arm, *parts)]
        stages = [replace(one, masks=self._masks(run, one)) for one in stages]
        starts = [first for first, _ in arm.later]
        if ends is not None:
            lengths = [stop - start for start, stop in itertools.pairwise([1, *starts, rounds + 1])]
            ends.plan(predicted_key_bits(stages, lengths), self.experiment.security.key_bits)
        return replace(stages[0], later=tuple(zip(starts, stages[1:], strict=True)))

    def _stage(self, arm: Arm, seed: int, rounds: int, test: bool, states: ClientStates, ends: Ends | None) -> Setting:
        drawn, participation = self.drawn(seed), arm.participation
        invited, validation = participation.cohort(len(drawn.clients)), len(drawn.split.validation)
        layout, clients = self.engine.layout, drawn.clients
        held = held_by(arm, layout, drawn.key, clients)
        aggregator = self.experiment.security.sealed(arm.aggregator)
        check_keys(arm, aggregator, ends)
        check_summed(arm, aggregator)
        most = max(drawn.sizes)
        bound = bind(aggregator, layout, clients, cohort=invited, validation=validation, held=held, max_weight=most)
        arm.selector.check(len(clients), invited)
        personal = arm.aggregator.reduce.personal
        if personal and (arm.local.server(layout) or arm.down is not None):
            given = f"codec {arm.down.name!r} on the way down" if arm.down else f"local method {arm.local.name!r}"
            remedy = 'set models = "largest", or leave it out'
            raise ConfigError(f"{given} with a model for each cluster", "one model for all clients", remedy)
        arm.local.check(arm.training.optimizer, equal_work=len(drawn.sizes) == 1)
        federation = self._federation(arm, drawn, rounds)
        return Setting(
            arm, bound, drawn, self.engine, participation, rounds, self.epoch, test, states, federation, ends=ends
        )

    def _masks(self, run: str, stage: Setting) -> Masks | None:
        return Masks.of(run, stage.bound.stack, stage.drawn.clients, self.links)

    def _federation(self, arm: Arm, drawn: Drawn, rounds: int) -> Federation | None:
        if arm.topology is None:
            return None
        if drawn.hostile:
            given = f"hostile clients and topology {arm.topology.name!r} of method {arm.name!r}"
            raise ConfigError(given, "honest clients", "attacks forge the updates of whole models; leave [hostile] out")
        config = arm.topology.config(arm.training, arm.participation, rounds)
        return Federation.on(config, drawn.task, drawn.key, drawn.split, self.epoch)
