"""A model for each cluster of clients, where the reduce forms clusters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from qfedfm.core.cohort import ClientId, Personal, State

Step = Callable[[np.ndarray, np.ndarray, State], tuple[np.ndarray, State]]
"""`ServerOptimizer.step`."""


@dataclass(frozen=True)
class Clusters:
    """The models of clusters; none while all clients have one model.

    Args:
        models: a vector for each cluster.
        servers: the state of each cluster's server optimiser.
        members: the cluster of each client that belongs to one.
    """

    models: tuple[Float32[np.ndarray, " d"], ...] = ()
    servers: tuple[State, ...] = ()
    members: Mapping[ClientId, int] = field(default_factory=dict)

    def of(self, client: ClientId, common: Float32[np.ndarray, " d"]) -> Float32[np.ndarray, " d"]:
        """The model of a client; the common one where it belongs to no cluster."""
        label = self.members.get(client)
        return common if label is None else self.models[label]

    def stepped(self, personal: Personal, common: np.ndarray, server: State, step: Step) -> Clusters:
        """After a round: each cluster that took part takes the server's step from its own model.

        Args:
            personal: what the reduce gave each cluster. A new one is numbered after those that there are.
            common: the model that a new cluster starts from.
            server: the state that its optimiser starts from.
            step: of the server optimiser.
        """
        models, servers = list(self.models), list(self.servers)
        for label in sorted(personal.vectors):
            if label == len(models):
                models.append(common)
                servers.append(server)
            moved, state = step(models[label], personal.vectors[label], servers[label])
            if np.isfinite(moved).all():
                models[label], servers[label] = moved, state
        return Clusters(tuple(models), tuple(servers), {**self.members, **personal.labels})

    def tensors(self) -> dict[str, np.ndarray]:
        """As named arrays, for a checkpoint; nothing where there are no clusters."""
        if not self.models:
            return {}
        members = np.array(sorted(self.members.items()), np.int64).reshape(-1, 2)
        states = {
            f"{label}/{name}": np.asarray(value)
            for label, state in enumerate(self.servers)
            for name, value in state.items()
        }
        return {"models": np.stack(self.models), "members": members, **states}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Clusters:
        """What `tensors` gave."""
        if not tensors:
            return cls()
        servers: list[dict[str, np.ndarray]] = [{} for _ in tensors["models"]]
        for name, value in tensors.items():
            label, _, rest = name.partition("/")
            if rest:
                servers[int(label)][rest] = value
        members = {int(client): int(label) for client, label in tensors["members"].tolist()}
        return cls(tuple(tensors["models"]), tuple(servers), members)
