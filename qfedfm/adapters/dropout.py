"""Dropout whose masks are a pure function of keys, so that neither order, grouping nor padding of rows changes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64

from qfedfm.core.errors import ConfigError

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shifted(z: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift to the right, which torch lacks for signed integers."""
    return (z >> bits).bitwise_and_(2 ** (64 - bits) - 1)


def mix(z: Int64[torch.Tensor, "*shape"]) -> Int64[torch.Tensor, "*shape"]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection of 64-bit integers that spreads every bit.

    Example:
        >>> hex(mix(torch.tensor([0x9E3779B97F4A7C15 - 2**64])).item() % 2**64)
        '0xe220a8397b1dcdaf'
    """
    z = (z ^ _shifted(z, 30)).mul_(_signed(_FIRST))
    z = (z ^ _shifted(z, 27)).mul_(_signed(_SECOND))
    return z ^ _shifted(z, 31)


def name_hash(name: str) -> int:
    """A signed 64-bit integer that stands for a module's name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def keep(
    seeds: Int64[torch.Tensor, "*#tokens"],
    module_hash: int,
    positions: Int[torch.Tensor, "*#tokens"],
    features: int,
    p: float,
) -> Bool[torch.Tensor, "... features"]:
    """Which features stay: each with probability 1 − p, independently over seeds, modules, positions and features.

    A token's state is s = mix(mix(seed + hash) + γ position); its features 2i and 2i + 1 are the halves of
    mix(s + γ (i + 1)), the i-th number of SplitMix64 from s, and stay where the half is at least p 2³².

    Args:
        seeds: of the row that each token is in; the shapes of seeds and positions are broadcast.
        module_hash: `name_hash` of the module.
        positions: of each token within its row.
        features: the width of the input.
        p: the probability of a zero, between 0 and 1.
    """
    state = mix(mix(seeds + module_hash) + positions * _signed(_GOLDEN))
    pairs = torch.arange(1, (features + 1) // 2 + 1, device=state.device) * _signed(_GOLDEN)
    halves = mix(state.unsqueeze(-1) + pairs).view(torch.int32)
    return halves[..., :features] >= min(round(p * 2**32) - 2**31, 2**31 - 1)


@dataclass(frozen=True)
class RowSeeds:
    """The rows of a pass: a seed each and, where rows are padded, the position of each token within its own row."""

    seeds: Int64[torch.Tensor, " rows"]
    positions: Int64[torch.Tensor, "rows tokens"] | None = None


_CURRENT: ContextVar[RowSeeds | None] = ContextVar("row seeds", default=None)


def current_seeds() -> RowSeeds | None:
    """What `row_seeds` set; None outside of it."""
    return _CURRENT.get()


@contextmanager
def row_seeds(seeds: torch.Tensor | None, mask: torch.Tensor | None = None) -> Iterator[None]:
    """Inside, `KeyedDropout` drops: training. Outside, or with None, it is the identity: evaluation.

    Args:
        seeds: one a row of the batch.
        mask: the attention mask of the batch, by which a token's position within its row is counted, so that padding
            on either side changes nothing; None where rows are not padded.
    """
    rows = None
    if seeds is not None:
        rows = RowSeeds(seeds, None if mask is None else mask.to(torch.int64).cumsum(1) - 1)
    with using(rows):
        yield


@contextmanager
def using(rows: RowSeeds | None) -> Iterator[None]:
    """Inside, these rows are in the pass."""
    token = _CURRENT.set(rows)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class KeyedDropout(torch.nn.Module):
    """y = x m / (1 − p), the mask m drawn by `keep` from the row's seed, this module's name, position and feature.

    From Srivastava et al. (2014), scaled in training. The training flag of the module has no say: without `row_seeds`
    it is the identity. An input of one vector a row counts as position 0; where the number of tokens is not that of
    the attention mask (images, tokens that a model adds), tokens are counted from the first.

    Args:
        p: the probability of a zero, below 1.
        name: of the module, the same in all models that shall agree.

    Raises:
        ConfigError: the probability is not at least 0 and below 1.
    """

    def __init__(self, p: float, name: str) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ConfigError(f"a dropout of {p}", "at least 0 and below 1")
        self.p, self.hash = p, name_hash(name)

    def forward(self, x: Float[torch.Tensor, "rows *tokens features"]) -> Float[torch.Tensor, "rows *tokens features"]:
        """The input with dropped features."""
        rows = current_seeds()
        if rows is None or self.p == 0:
            return x
        positions = rows.positions
        if x.dim() != 3 or positions is None or positions.shape[1] != x.shape[1]:
            positions = torch.arange(x.shape[1:-1].numel(), device=x.device).unsqueeze(0)
        mask = keep(rows.seeds.unsqueeze(1), self.hash, positions, x.shape[-1], self.p).view(x.shape)
        return x * (mask.to(x.dtype) / (1 - self.p))

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
