"""What all parties of a round have agreed on beforehand; a party takes no message of another plan."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property

from qfedfm.core.errors import ConfigError
from qfedfm.core.ring import Ring
from qfedfm.secagg.graph import Complete, Graph
from qfedfm.secagg.keystream import Stream
from qfedfm.secagg.shamir import MOST
from qfedfm.secagg.topology import Topology


@dataclass(frozen=True)
class Plan:
    """One round of secure aggregation: Σₖ wₖ qₖ and Σₖ wₖ over the survivors, and nothing else, for the server.

    Args:
        epoch: raised by one each time a run is resumed.
        round: of the run.
        clients: ids of those invited, ascending, at least two.
        layout: `Layout.digest` of what the numbers are.
        stack: digest of what made the whole numbers; a plan of another codec is another plan.
        length: d, whole numbers of one client.
        bound: of their magnitude.
        max_weight: the largest weight of a client.
        colluders: c, clients that may tell the server all that they know.
        minimum: the fewest survivors whose sum may be opened; None for the least that is safe, `survivors_needed`.
        ring: where sums are taken.
        graph: who shares masks with whom.
        topology: where given keys of pairs come from.
        agreement: whether pairs agree on a secret by X25519.
        stream: the cipher of the masks.
        run: name of the run.

    Raises:
        ConfigError: ids out of order, fewer than two clients, too many colluders or too few survivors for them, more
            than 255 clients in a complete graph.
        StackError: sums could overflow the ring, or the masks would hide nothing from the server.

    Example:
        >>> plan = Plan(0, 1, (3, 5, 8, 9), bytes(8), bytes(8), length=10, bound=7, max_weight=5, colluders=1)
        >>> plan.threshold, plan.quorum, plan.survivors_needed
        (3, 3, 3)
    """

    epoch: int
    round: int
    clients: tuple[int, ...]
    layout: bytes
    stack: bytes
    length: int
    bound: int
    max_weight: int
    colluders: int
    minimum: int | None = None
    ring: Ring = field(default_factory=Ring)
    graph: Graph = field(default_factory=Complete)
    topology: Topology = Topology.NONE
    agreement: bool = True
    stream: Stream = Stream.AES
    run: str = ""

    def __post_init__(self) -> None:
        n, ids = len(self.clients), self.clients
        if n < 2 or list(ids) != sorted(set(ids)) or not 0 <= ids[0] <= ids[-1] < 2**32 - 1:
            raise ConfigError(f"clients {self.clients}", "at least two different ids in ascending order")
        if isinstance(self.graph, Complete) and n > MOST:
            raise ConfigError(f"a complete graph of {n} clients", f"at most {MOST}", "take a k-regular graph")
        if self.length < 1 or len(self.layout) != 8 or len(self.stack) != 8:
            given = f"length {self.length}, digests of {len(self.layout)} and {len(self.stack)} bytes"
            raise ConfigError(given, "at least 1, and 8 bytes each")
        for name in ("epoch", "round"):
            if not 0 <= getattr(self, name) < 2**32:
                raise ConfigError(f"{name} {getattr(self, name)}", "0 to 2^32 − 1")
        if not self.colluders >= 0 or not self._least <= self.survivors_needed <= n:
            given = f"{self.minimum} survivors of {n} clients with {self.colluders} colluders"
            raise ConfigError(given, f"from {self._least} to {n}", "assume fewer colluders or invite more clients")
        self.ring.check(n, self.bound, self.max_weight)
        self.topology.check(self.agreement)

    @property
    def quorum(self) -> int:
        """Signatures under one set of survivors: more than (n + c)/2, so that two sets cannot both have as many."""
        return (len(self.clients) + self.colluders) // 2 + 1

    @property
    def threshold(self) -> int:
        """Shares that give a secret."""
        return self.graph.shares_needed(len(self.clients), self.colluders)

    @property
    def _least(self) -> int:
        return max(self.quorum, self.threshold, self.colluders + 2)

    @property
    def survivors_needed(self) -> int:
        """``minimum``, or the least that is safe: a quorum, enough shares, and two clients that do not collude."""
        return self._least if self.minimum is None else self.minimum

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all fields: in every message, and in everything that is derived from a secret."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain = {
            **fields,
            "layout": self.layout.hex(),
            "stack": self.stack.hex(),
            "minimum": self.survivors_needed,
            "ring": self.ring.bits,
            "graph": [type(self.graph).__name__, asdict(self.graph)],
            "topology": self.topology.value,
            "stream": self.stream.value,
        }
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).digest()
