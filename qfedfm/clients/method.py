"""The kind of part that a local training method is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.core.cohort import EMPTY, State
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Part


class LocalMethod(Part):
    """What changes in a client's training besides the optimiser: a term in the gradient, and state to keep.

    Call order in a round: the server sends ``server``; `prepare` on each client, training, `finish` on each client with
    the delta as the server decodes it; `close` on the server with the reduced delta, before the server optimiser.
    """

    kind = "local method"

    def check(self, optimizer: LocalOptimizer, *, equal_work: bool) -> None:
        """Refuses settings under which the method is not defined.

        Args:
            optimizer: the client's.
            equal_work: whether all clients have the same number of steps and the same sample weight.
        """

    def server(self, layout: Layout) -> State:
        """The server's state before the first round; broadcast each round and counted as downlink."""
        return EMPTY

    def client(self, layout: Layout) -> State:
        """A client's own state before its first round."""
        return EMPTY

    def prepare(self, job: Job, server: State, own: State) -> Job:
        """The job with the method's term filled in."""
        return job

    def finish(self, job: Job, decoded: Float32[np.ndarray, " d"], server: State, own: State) -> State:
        """The client's state after an update that the server accepted."""
        return own

    def close(
        self, reduced: Float32[np.ndarray, " d"], rates: float, accepted: int, population: int, server: State
    ) -> State:
        """The server's next state, from the reduced delta, the sum of the learning rates of a client's steps, and the
        numbers of accepted updates and of clients.
        """
        return server
