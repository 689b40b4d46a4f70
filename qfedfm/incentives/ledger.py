"""What a server remembers of the clients that it has invited: a line of 64 numbers and four counts for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from qfedfm.core.cohort import ClientId, State
from qfedfm.incentives.selector import SKETCH, Seen

_ALL = 1 - 1e-9
"""The weight of an update that is the whole aggregate."""
UNSEEN = 1.0
"""The reward of a client that no round has judged yet: the largest, so that all are tried."""


@dataclass(frozen=True)
class Ledger:
    """One line for each client that was ever invited, by id.

    A round that was aggregated judges whom it invited: a client's reward is the mean over those rounds of

        cos(Sδ, S(d − wδ)) for its update δ, which weighs w in the aggregated delta d; 0 where no update of it counted,

    S being a `count_sketch`: how much it agreed with what the others made of the round. The update that is all of d
    agrees fully. Where a reduce gives no weights, w is 0, and a large update also agrees with itself. Agreement is no
    merit in itself, and hostile clients may agree with each other: against them take a robust reduce as well.

    Args:
        clients: their ids, ascending.
        invited: the last round that invited each.
        judged: in how many rounds each was judged.
        reward: in [−1, 1]; `UNSEEN` where nothing was judged.
        sketches: of the last update that counted, of length 1; 0 where there was none.
    """

    clients: Int64[np.ndarray, " m"]
    invited: Int64[np.ndarray, " m"]
    judged: Int64[np.ndarray, " m"]
    reward: Float64[np.ndarray, " m"]
    sketches: Float32[np.ndarray, "m s"]

    @classmethod
    def of(cls, state: State) -> Ledger:
        """From the state of a selector; an empty one before the first round."""
        if state:
            return cls(**{name: np.asarray(state[name]) for name in cls.__dataclass_fields__})
        none = np.zeros(0, np.int64)
        return cls(none, none, none, np.zeros(0), np.zeros((0, SKETCH), np.float32))

    @property
    def state(self) -> State:
        """What a checkpoint keeps."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def after(self, round: int, seen: Seen) -> Ledger:  # noqa: A002
        """With one more round."""
        ledger = self._with(seen.invited)
        places = np.searchsorted(ledger.clients, np.array(seen.invited, np.int64))
        invited, judged = ledger.invited.copy(), ledger.judged.copy()
        reward, sketches = ledger.reward.copy(), ledger.sketches.copy()
        invited[places] = round
        for place, client in zip(places.tolist(), seen.invited, strict=True):
            sketch = _unit(seen.sketches[client]) if client in seen.sketches else None
            if sketch is not None:
                sketches[place] = sketch
            if seen.aggregate is not None:
                weight = seen.weights.get(client, 0.0)
                found = 0.0 if sketch is None else _agreement(seen.sketches[client], seen.aggregate, weight)
                before = reward[place] if judged[place] else 0.0
                judged[place] += 1
                reward[place] = before + (found - before) / judged[place]
        return Ledger(ledger.clients, invited, judged, reward, sketches)

    def about(self, clients: tuple[ClientId, ...]) -> Ledger:
        """The lines of some clients in that order; of one never invited as if it had been in round 0."""
        known = self._with(clients)
        places = np.searchsorted(known.clients, np.array(clients, np.int64))
        return Ledger(**{name: getattr(known, name)[places] for name in self.__dataclass_fields__})

    def _with(self, clients: tuple[ClientId, ...]) -> Ledger:
        """With a line for each of the clients."""
        new = np.setdiff1d(np.array(clients, np.int64), self.clients)
        ids, zeros = np.concatenate((self.clients, new)), np.zeros(len(new), np.int64)
        order = np.argsort(ids)
        return Ledger(
            ids[order],
            np.concatenate((self.invited, zeros))[order],
            np.concatenate((self.judged, zeros))[order],
            np.concatenate((self.reward, np.full(len(new), UNSEEN)))[order],
            np.concatenate((self.sketches, np.zeros((len(new), SKETCH), np.float32)))[order],
        )


def _agreement(own: Float64[np.ndarray, " s"], aggregate: Float64[np.ndarray, " s"], weight: float) -> float:
    """The cosine of a client's update and what the others made of the round."""
    others = aggregate if weight >= _ALL else aggregate - weight * own
    return float(np.clip(_unit(own) @ _unit(others), -1, 1))


def _unit(sketch: Float64[np.ndarray, " s"]) -> Float64[np.ndarray, " s"]:
    """The sketch at length 1, or zeros."""
    length = float(np.linalg.norm(sketch))
    return sketch / length if length > 0 else np.zeros_like(sketch)
