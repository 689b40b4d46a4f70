"""Who takes part in a round: who is invited, clients that drop out, clients that answer too late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from qfedfm.core.cohort import ClientId, State
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.incentives.selector import Invitation, Selector
from qfedfm.incentives.selectors.uniform import Uniform


@dataclass(frozen=True)
class Attendance:
    """One round's attendance; each tuple ascends by client id.

    Args:
        invited: the clients that receive the model and train.
        dropped: those of them that fall silent after training; nothing of theirs arrives.
        late: those whose answer arrives after the deadline, in the next round, where its round number is refused.
    """

    invited: tuple[ClientId, ...]
    dropped: tuple[ClientId, ...] = ()
    late: tuple[ClientId, ...] = ()

    @property
    def on_time(self) -> tuple[ClientId, ...]:
        """The invited clients whose answers arrive before the deadline."""
        absent = {*self.dropped, *self.late}
        return tuple(client for client in self.invited if client not in absent)


Capacity = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Participation(BaseModel):
    """How many clients a round invites, and how reliable they are.

    The selector chooses the invited; the one that is there without a choice draws a uniform sample without replacement.
    Whether an invited client drops out or is late depends on the key, the round and its id only, so adding or removing
    others changes neither.

    Args:
        clients_per_round: how many are invited; None invites all.
        dropout: probability that an invited client falls silent after training.
        late: probability that the answer of a client that did not drop out misses the deadline.
        selector: who chooses the invited, by name or as a table of its name and options; a method can name another.
        capacities: shares of every LoRA rank that clients can hold, drawn for each client by the seed; none where all
            hold all.

    Example:
        >>> Participation(clients_per_round=2).draw(Key.of(1), 0, (3, 5, 8)).dropped
        ()
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients_per_round: int | None = Field(default=None, ge=1)
    dropout: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    late: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    # left out of the settings at their defaults, so that experiments from before them keep their digest
    selector: str | dict[str, Any] = Field(default=Uniform.name, exclude_if=lambda selector: selector == Uniform.name)
    capacities: tuple[Capacity, ...] = Field(default=(), exclude_if=lambda capacities: not capacities)

    def cohort(self, population: int) -> int:
        """The number of updates that a round brings when nobody drops out or is late.

        Raises:
            ConfigError: more clients a round than there are.
        """
        if self.clients_per_round is not None and self.clients_per_round > population:
            given = f"clients_per_round = {self.clients_per_round} of {population} clients"
            raise ConfigError(given, f"at most {population}", "lower clients_per_round or add clients")
        return population if self.clients_per_round is None else self.clients_per_round

    def shares(self, key: Key, population: tuple[ClientId, ...]) -> dict[ClientId, float]:
        """The share of every rank that each client holds: each capacity as often as any other, or once more.

        Args:
            key: of the seed, folded by purpose, so that all methods and rounds have the same weak clients.
            population: all client ids, ascending.

        Raises:
            ConfigError: more capacities than clients.

        Example:
            >>> sorted(Participation(capacities=(1.0, 0.5)).shares(Key.of(1), (3, 5, 8)).values())
            [0.5, 1.0, 1.0]
        """
        capacities = self.capacities or (1.0,)
        if len(capacities) > len(population):
            raise ConfigError(f"{len(capacities)} capacities of {len(population)} clients", "at most one for each")
        order = key.numpy().permutation(len(population)).tolist()
        return {population[place]: capacities[turn % len(capacities)] for turn, place in enumerate(order)}

    def draw(
        self,
        key: Key,
        round: int,  # noqa: A002
        population: tuple[ClientId, ...],
        invited: tuple[ClientId, ...] | None = None,
    ) -> Attendance:
        """Who is invited to a round, and what becomes of them.

        Args:
            key: already folded by purpose; folded here by round, client and what is drawn.
            round: the round's number.
            population: all client ids, ascending.
            invited: whom a selector chose, ascending; None for a uniform sample.

        Raises:
            ConfigError: more clients a round than there are.
        """
        if invited is None:
            invited = self.invite(Uniform(), {}, key, round, population).clients
        dropped = tuple(c for c in invited if self.dropout and _uniform(key, round, c, "dropout") < self.dropout)
        left = sorted({*invited} - {*dropped}) if self.late else ()
        late = tuple(c for c in left if _uniform(key, round, c, "late") < self.late)
        return Attendance(invited, dropped, late)

    def invite(
        self,
        selector: Selector,
        state: State,
        key: Key,
        round: int,  # noqa: A002
        population: tuple[ClientId, ...],
    ) -> Invitation:
        """Whom a selector invites; the arguments as in `draw`, and the selector's state."""
        size = self.cohort(len(population))
        return selector.select(population, size, state, round, key.fold(round, "invited"))


def _uniform(key: Key, round: int, client: ClientId, purpose: str) -> float:  # noqa: A002
    """A number in [0, 1) that belongs to one client, round and purpose."""
    return float(key.fold(round, client, purpose).numpy().random())
