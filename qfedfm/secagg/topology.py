"""Where the keys of a pair of clients come from, and from whom each way hides them."""

from __future__ import annotations

import warnings
from enum import Enum

from qfedfm.core.errors import StackError


class InsecureTopologyWarning(UserWarning):
    """Keys are used as if they hid something from a party that knows them."""


class Topology(Enum):
    """How keys reach a pair of clients, beside a key agreement between the two."""

    NONE = "none"
    STAR = "star"
    DIRECT = "direct"
    RELAYS = "relays"

    @property
    def hides(self) -> str:
        """From whom the keys of a pair are hidden, without a key agreement on top."""
        return _HIDES[self]

    def check(self, agreement: bool) -> None:
        """Refuses masks that would hide nothing from the server, and warns where only the agreement hides anything.

        Args:
            agreement: whether the two clients of a pair also agree on a secret (X25519, authenticated by signatures).

        Raises:
            StackError: a star, or no keys at all, without an agreement.

        Example:
            >>> Topology.DIRECT.check(agreement=False)
            >>> Topology.STAR.hides
            'nobody who matters: the server relays every key of a pair and so knows all masks'
        """
        if self in (Topology.STAR, Topology.NONE) and not agreement:
            given = f"masks from keys of topology {self.value!r} without a key agreement between clients"
            raise StackError(given, f"keys that the server lacks; this hides from {self.hides}", "set agreement = true")
        if self is Topology.STAR:
            text = (
                f"keys of a star hide from {self.hides}; only the key agreement between clients hides updates from it"
            )
            warnings.warn(text, InsecureTopologyWarning, stacklevel=4)


_HIDES = {
    Topology.NONE: "nobody: there are no keys",
    Topology.STAR: "nobody who matters: the server relays every key of a pair and so knows all masks",
    Topology.DIRECT: "everyone but the two clients at the ends of a link, which no relay is part of",
    Topology.RELAYS: "everyone but the two clients and the relays on the path: the server, if it has none of them",
}
