"""Text classification with any sequence-classification model of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
import torch
from jaxtyping import Float32, Int64

from qfedfm.adapters.models import load_tokenizer
from qfedfm.adapters.peft import Adapter, build_classifier, save
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.tasks.metrics import classification
from qfedfm.tasks.packed import Packed, tokenise
from qfedfm.tasks.partition import AnyPartition, BySource
from qfedfm.tasks.protocol import Batch, Rows, Split
from qfedfm.tasks.records import Records
from qfedfm.tasks.sources import ENDINGS, read_records
from qfedfm.tasks.split import Limits, divide, pool
from qfedfm.tasks.tweets import tweets

if TYPE_CHECKING:
    from peft import PeftModel


class TextClassification(pydantic.BaseModel):
    """A pretrained model, an adapter, labelled texts and how they are spread over clients.

    Which rows are used at all (the pool; rows 0 … n − 1 of the task) depends on these fields only; who holds which of
    them is drawn by the key that `split` is given. Data and model are read when they are first needed.

    Args:
        kind: tells this task from one of your own.
        base_model: ``minilm`` (the package of the extra ``demo``), a local folder, or a name on the hub.
        adapter: what is trained; see `Adapter`.
        data: ``tweets``, or the path of a CSV, TSV, JSON Lines or Parquet file.
        text_column: the file's column of texts.
        label_column: the file's column of labels.
        client_column: the file's column of clients, for the partition ``source``.
        partition: a name or a table: ``source``, ``iid``, ``dirichlet``, ``label``, ``quantity``.
        max_tokens: a text is cut after so many tokens.
        train_rows: of a client: the most with the partition ``source``, else the mean.
        test_rows: likewise; a client with fewer rows than both divides them in their proportion.
        validation: rows on the server, seen by reduces with an objective.
        tuning: rows on the server on which settings are chosen.
        pool_seed: draws the pool out of the data.

    Raises:
        ValueError: (as pydantic's ValidationError) an unknown field, a wrong type, a value out of range.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    kind: Literal["text-classification"] = "text-classification"
    base_model: str = "minilm"
    adapter: Adapter = Adapter()
    data: str = "tweets"
    text_column: str = "text"
    label_column: str = "label"
    client_column: str | None = None
    partition: AnyPartition = BySource()
    max_tokens: int = pydantic.Field(default=64, ge=4)
    train_rows: int = pydantic.Field(default=256, ge=1)
    test_rows: int = pydantic.Field(default=64, ge=1)
    validation: int = pydantic.Field(default=120, ge=0)
    tuning: int = pydantic.Field(default=120, ge=0)
    pool_seed: int = 0

    @pydantic.field_validator("data")
    @classmethod
    def _known_or_a_file(cls, data: str) -> str:
        if data != "tweets" and not data.lower().endswith(ENDINGS):
            raise ValueError(f"'tweets' or the path of a file that ends in {', '.join(ENDINGS)}")
        return data

    @pydantic.model_validator(mode="after")
    def _sources_have_a_column(self) -> TextClassification:
        if self.data != "tweets" and self.partition.by_source and self.client_column is None:
            raise ValueError('client_column, which the partition "source" of a file needs, or another partition')
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> TextClassification:
        """A copy with other fields, checked like a new one; nothing that was read is taken over."""
        del deep
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **(update or {})})

    @property
    def name(self) -> str:
        """What the task is called in tables."""
        return self.data if self.data == "tweets" else Path(self.data).stem

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.records.classes)

    @property
    def limits(self) -> Limits:
        """How many rows are used where."""
        return Limits(self.train_rows, self.test_rows, self.validation, self.tuning)

    @cached_property
    def records(self) -> Records:
        """The pool's texts, labels and sources."""
        if self.data == "tweets":
            found = tweets()
        else:
            column = self.client_column if self.partition.by_source else None
            found = read_records(Path(self.data).expanduser(), self.text_column, self.label_column, column)
        found = found.without_near_copies()
        key = Key.of(self.pool_seed).fold("task")
        return found.take(pool(found.labels, _sources(found), self.partition, self.limits, key))

    @cached_property
    def tokens(self) -> Packed:
        """The pool, tokenised."""
        return tokenise(load_tokenizer(self.base_model), self.records.texts, self.max_tokens)

    def model(self, key: Key) -> torch.nn.Module:
        model: torch.nn.Module = self._classifier(key)
        return model

    def _classifier(self, key: Key) -> PeftModel:
        labels = dict(enumerate(self.records.classes))
        model = build_classifier(self.base_model, self.classes, self.adapter, key.fold("model"), labels)
        longest = getattr(model.config, "max_position_embeddings", None)
        if longest is not None and self.max_tokens > longest:
            raise ConfigError(f"max_tokens = {self.max_tokens}", f"at most {longest}, which the model reads")
        # models that classify by their last token find it by this id
        model.config.pad_token_id = self.tokens.padding
        model.get_base_model().config.pad_token_id = self.tokens.padding
        return model

    def split(self, key: Key) -> Split:
        found = self.records
        return divide(found.labels, _sources(found), found.source_names, self.partition, self.limits, key.fold("split"))

    def lengths(self) -> Int64[np.ndarray, " n"]:
        return self.tokens.lengths

    def labels(self) -> Int64[np.ndarray, " n"]:
        return self.records.labels

    def collate(self, rows: Rows) -> Batch:
        return Batch(self.tokens.inputs(rows), torch.from_numpy(self.records.labels[rows]))

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = model(**inputs).logits
        return logits

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs.float(), labels, reduction="none")

    def metrics(self, outputs: Float32[np.ndarray, "n classes"], rows: Rows) -> Mapping[str, float]:
        return classification(outputs, self.records.labels[rows])

    def save_adapter(self, vector: Float32[np.ndarray, " d"], folder: str | Path) -> Path:
        """Writes the tuned adapter and head as a plain PEFT folder; see `qfedfm.adapters.peft.save`."""
        return save(self._saved, vector, folder, self.base_model)

    @cached_property
    def _saved(self) -> PeftModel:
        """A model for writing adapters from, one after the other; building it takes longer than writing."""
        return self._classifier(Key.of(0))


def _sources(records: Records) -> Int64[np.ndarray, " n"]:
    return np.zeros(len(records.labels), np.int64) if records.sources is None else records.sources
