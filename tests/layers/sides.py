"""What the tests of layers share."""

from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At


def client_at(d: int) -> At:
    """Client 3 in round 2, with a layout of one vector of length d."""
    return At(0, 2, 3, Key.of(0), Layout.of({"x": (d,)}), 10)
