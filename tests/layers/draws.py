"""What arrives of a vector under many keys, for codecs that draw."""

import numpy as np

import qfedfm as qf
from qfedfm.core.parts import At


def outputs(codec, x, keys):
    """What arrives of x under that many keys."""
    layout = qf.Layout.of({"x": (x.size,)})
    places = (At(0, 1, 0, qf.Key.of(0).fold(number), layout, 1) for number in range(keys))
    return np.array([codec.decode(codec.encode(x, at), at) for at in places], np.float64)


def errors(found, x):
    """The mean squared error and, its sampling noise taken off, the squared bias (0 of one draw), both over ‖x‖²."""
    square, draws = float(x.astype(np.float64) @ x), len(found)
    total = ((found - x) ** 2).sum(axis=1).mean() / square
    bias = ((found.mean(axis=0) - x) ** 2).sum() / square
    return total, 0.0 if draws == 1 else (bias - total / draws) / (1 - 1 / draws)
