"""What the tests of layers share."""

from dataclasses import replace

import numpy as np

from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec


def client_at(d: int) -> At:
    """Client 3 in round 2, with a layout of one vector of length d."""
    return At(0, 2, 3, Key.of(0), Layout.of({"x": (d,)}), 10)


def draws(codec: Codec, x: np.ndarray, count: int) -> np.ndarray:
    """What the server gets of as many tensors that are all x, count × d, in float64."""
    layout = Layout.of({str(number): x.shape for number in range(count)})
    at = replace(client_at(1), layout=layout)
    decoded = codec.decode(codec.encode(np.tile(x, count), at), at)
    return decoded.reshape(count, -1).astype(np.float64)


def nmse(codec: Codec, x: np.ndarray, count: int = 1) -> float:
    """‖C(x) − x‖²/‖x‖², the mean over as many tensors."""
    wide = x.astype(np.float64)
    return float(((draws(codec, x, count) - wide) ** 2).sum(axis=1).mean() / (wide @ wide))


def expected_error(x: np.ndarray, step: float) -> float:
    """E‖C(x) − x‖² of stochastic rounding to multiples of the step, one coordinate after the other."""
    total = 0.0
    for value in x.astype(np.float64).tolist():
        below = abs(value) // step * step
        total += (abs(value) - below) * (below + step - abs(value))
    return total
