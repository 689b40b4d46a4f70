"""Which clients of a run hold which ranks, and what cannot be combined with that."""

from __future__ import annotations

from qfedfm.core.cohort import ClientId
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.held import Held, nested
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.engine.arm import Arm


def held_by(arm: Arm, layout: Layout, key: Key, clients: tuple[ClientId, ...]) -> Held | None:
    """What each client holds under the arm's ``capacities``; None where all hold all.

    Args:
        arm: the method.
        layout: of the adapter.
        key: of the seed.
        clients: all ids, ascending.

    Raises:
        ConfigError: the adapter has no LoRA modules, more capacities than clients, a codec on the way down, or a local
            method with a state that belongs to whole updates.
        StackError: a selector that compares whole updates. Reduces and cohort layers that do are refused by `bind`.
    """
    held = nested(layout, arm.participation.shares(key.fold("capacities"), clients))
    if held is None:
        return None
    given, remedy = "for clients that hold different ranks", "leave capacities out, or choose another"
    if arm.down is not None:
        given = f"codec {arm.down.name!r} on the way down {given}"
        raise ConfigError(given, "what each client holds, sent whole", "leave capacities or down out")
    if arm.local.server(layout) or arm.local.client(layout):
        raise ConfigError(f"local method {arm.local.name!r} {given}", "a local method without state", remedy)
    if arm.selector.watches:
        given = f"selector {arm.selector.name!r}, which compares updates, {given}"
        raise StackError(given, "rows that all hold all coordinates", remedy)
    return held
