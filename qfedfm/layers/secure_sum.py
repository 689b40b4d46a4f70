"""Secure aggregation as a layer: pairwise and self masks, under which only the sum of a round opens."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, final

from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import ClientId
from qfedfm.core.registry import part
from qfedfm.core.ring import Ring
from qfedfm.core.summed import Carrier, PairKeys, Summands, SummedLayer, Summing
from qfedfm.qkd.extra import qkd
from qfedfm.secagg.topology import InsecureTopologyWarning, Topology

if TYPE_CHECKING:
    from qfedfm.secagg.graph import Graph
    from qfedfm.secagg.plan import Plan
    from qfedfm.secagg.protocol import Member

_FAILURE = 2.0**-40
"""Probability that more of a client's neighbours collude than a regular graph's threshold allows for."""


@part("secure-sum", paper="Bonawitz et al., CCS 2017, eprint 2017/281; Bell et al., CCS 2020, eprint 2020/704")
@final
@dataclass(frozen=True)
class SecureSum(SummedLayer):
    """Each client sends wₖ (qₖ ‖ 1) under masks that cancel in the sum of the survivors; see `qfedfm.secagg`.

    Clients that drop out after the setup are recovered from shares; an answer after the deadline is a dropout. With too
    few survivors nothing is opened and the round is not aggregated. docs/threat-model.md says what is hidden from whom.

    Args:
        colluders: clients that may tell the server all that they know.
        minimum: the fewest survivors whose sum may be opened; None for the least that is safe.
        graph: ``complete``, or the even number of others that each client shares masks with;
            `qfedfm.secagg.graph.regular` says which number is enough.
        topology: of the links that keys of pairs come from, beside the agreement.
        agreement: whether the clients of a pair agree on a secret by X25519.
        ring: bits of the modulus, 32 or 64.
        stream: cipher of the masks.

    Raises:
        ConfigError: an option is out of range.
        StackError: the masks would hide nothing from the server.

    Differs from the papers: see `Client` and `Regular`.

    Example:
        >>> import qfedfm as qf
        >>> secure = qf.layers.SecureSum(colluders=2)
        >>> qf.stack(qf.layers.FixedPoint(reach=0.1), secure, reduce=qf.reduces.Mean()).summed == secure
        True
    """

    colluders: Annotated[int, Field(ge=0)] = 1
    minimum: Annotated[int, Field(ge=2)] | None = None
    graph: Literal["complete"] | Annotated[int, Field(ge=2, multiple_of=2)] = "complete"
    topology: Literal["none", "star", "direct", "relays"] = "none"
    agreement: bool = True
    ring: Literal[32, 64] = 32
    stream: Literal["aes-256-ctr", "chacha20"] = "aes-256-ctr"

    messages = 5

    def __post_init__(self) -> None:
        check_fields(self)
        Topology(self.topology).check(self.agreement)

    @property
    def linked(self) -> bool:
        return self.topology != "none"

    def check(self, clients: int, bound: int, max_weight: int) -> None:
        self.plan(Summands("", 0, 0, tuple(range(clients)), bytes(8), bytes(8), 1, bound, max_weight))

    def plan(self, summands: Summands) -> Plan:
        """The plan of a round; see `qfedfm.secagg.plan.Plan` for what it refuses."""
        qkd("cryptography")
        from qfedfm.secagg.keystream import Stream
        from qfedfm.secagg.plan import Plan

        with warnings.catch_warnings():  # the layer itself has warned
            warnings.simplefilter("ignore", InsecureTopologyWarning)
            return Plan(
                summands.epoch,
                summands.round,
                summands.clients,
                summands.layout,
                summands.stack,
                summands.length,
                summands.bound,
                summands.max_weight,
                self.colluders,
                self.minimum,
                Ring(self.ring),
                self._graph(len(summands.clients)),
                Topology(self.topology),
                self.agreement,
                Stream(self.stream),
                summands.run,
            )

    def _graph(self, clients: int) -> Graph:
        from qfedfm.secagg.graph import Complete, Regular, tail

        if self.graph == "complete" or self.graph >= clients - 1:
            return Complete()
        degree = self.graph
        near = next(m for m in range(degree + 1) if clients * tail(clients - 1, self.colluders, degree, m) <= _FAILURE)
        return Regular(degree, near, (degree + 1 + near) // 2 + 1)

    def parties(self, population: Sequence[ClientId]) -> SecureParties:
        qkd("cryptography")
        from qfedfm.secagg.identity import Identity
        from qfedfm.secagg.protocol import Member

        identities = {client: Identity.new() for client in population}
        publics = {client: identity.public for client, identity in identities.items()}
        members = {client: Member(client, identity, publics) for client, identity in identities.items()}
        return SecureParties(self, members)


@dataclass(frozen=True)
class SecureParties:
    """The members of one run; each has an identity for signatures that all the others know.

    Args:
        layer: the options.
        members: by client.
    """

    layer: SecureSum
    members: Mapping[ClientId, Member] = field(repr=False)

    def begin(self, summands: Summands, keys: PairKeys, carrier: Carrier, silent: Sequence[ClientId]) -> Summing:
        """A round; see `qfedfm.core.summed.Parties`."""
        from qfedfm.secagg.client import Step
        from qfedfm.secagg.protocol import Round

        none = dict.fromkeys(silent, Step.ADVERTISE)
        return Round(self.layer.plan(summands), self.members, silent=none, keys=keys, carrier=carrier)
