"""Tokenised rows, packed end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int32, Int64

from qfedfm.core.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Packed:
    """The tokens of n rows in one array, without padding.

    Args:
        tokens: all rows' token ids, one row after the other.
        offsets: where each row starts, and the end.
        types: the rows' token types, where the tokenizer gives them.
        padding: the id of the padding token.
    """

    tokens: Int32[np.ndarray, " total"]
    offsets: Int64[np.ndarray, " n1"]
    types: Int32[np.ndarray, " total"] | None
    padding: int

    @property
    def lengths(self) -> Int64[np.ndarray, " n"]:
        """Tokens of each row."""
        return np.diff(self.offsets)

    def inputs(self, rows: Int64[np.ndarray, " m"]) -> dict[str, torch.Tensor]:
        """The rows as the model's keyword arguments, padded on the right to the longest of them."""
        lengths = self.lengths[rows]
        position = np.arange(int(lengths.max()))
        mask = position < lengths[:, None]
        index = np.where(mask, self.offsets[rows][:, None] + position, 0)
        arrays = {"input_ids": np.where(mask, self.tokens[index], self.padding), "attention_mask": mask}
        if self.types is not None:
            arrays["token_type_ids"] = np.where(mask, self.types[index], 0)
        return {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The tokenizer's padding token; else its end-of-text token; else 0. Padded places are masked out."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> Packed:
    """All texts at once, each cut after ``max_tokens`` tokens (special tokens included).

    Raises:
        DataError: a text has no token.
    """
    encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=False)
    ids = encoded["input_ids"]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        raise DataError(f"text {texts[empty[0]]!r} gives no token", "at least one", "remove the row")
    types = None
    if "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in encoded:
        types = _flat(encoded["token_type_ids"])
    return Packed(_flat(ids), offsets, types, padding_id(tokenizer))


def _flat(rows: Sequence[Sequence[int]]) -> Int32[np.ndarray, " total"]:
    return np.concatenate([np.asarray(row, np.int32) for row in rows])
