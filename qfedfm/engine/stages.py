"""Methods with phases: what differs from round to round, and what is handed over from one stage to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qfedfm.core.cohort import EMPTY
from qfedfm.engine.chain import Chain
from qfedfm.engine.state import RunState

if TYPE_CHECKING:
    from qfedfm.engine.setting import Setting


def handed_over(state: RunState, before: Setting, after: Setting) -> RunState:
    """The state with which the next stage begins.

    The model goes on. The state of a reduce, a server optimiser, a selector or a codec of the way down goes on where
    that part stays the same, options included, and begins anew otherwise. What clients remember goes on where local
    method, optimiser, codec and capacities all stay the same. The reconstruction that clients have goes on under
    another codec, but not its earlier messages: whoever missed rounds then gets the whole model.
    """
    if before is after:
        return state
    old, new, layout = before.arm, after.arm, after.bound.layout
    same_clients = old.local == new.local and old.aggregator.codec == new.aggregator.codec
    same_ranks = old.participation.capacities == new.participation.capacities
    kept_optimizer = (old.training.optimizer, old.training.keep_state) == (
        new.training.optimizer,
        new.training.keep_state,
    )
    chain = state.chain
    if new.down is None:
        chain = Chain()
    elif old.down != new.down and chain.model is not None:
        chain = replace(chain, memory=new.down.memory(layout), payloads={})
    return replace(
        state,
        reduce=state.reduce if old.aggregator.reduce == new.aggregator.reduce else after.bound.init(),
        server=state.server if old.server == new.server else new.server.init(layout),
        local=state.local if old.local == new.local else new.local.server(layout),
        clients=state.clients if same_clients and same_ranks and kept_optimizer else {},
        selector=state.selector if old.selector == new.selector else EMPTY,
        chain=chain,
    )
