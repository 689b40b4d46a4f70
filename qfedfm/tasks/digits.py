"""Handwritten digits: 1797 images of 8 × 8 pixels, and a vision transformer that is trained as a whole."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
import torch
from jaxtyping import Float32, Int64

from qfedfm.adapters.models import quiet
from qfedfm.adapters.tensors import load_vector
from qfedfm.core.errors import ConfigError, MissingExtraError
from qfedfm.core.key import Key
from qfedfm.tasks.metrics import classification
from qfedfm.tasks.partition import AnyPartition, BySource, Iid
from qfedfm.tasks.protocol import Batch, Rows, Split
from qfedfm.tasks.split import Limits, divide, pool
from qfedfm.tasks.splittable import Halves

if TYPE_CHECKING:
    from transformers import ViTForImageClassification

CLASSES, SIDE, PATCH, GREYS = 10, 8, 2, 16
TOKENS = (SIDE // PATCH) ** 2 + 1
"""Patches of an image, and the token that stands for its class."""
_SPREAD = 0.2
"""Standard deviation of the first weights: about 1/√hidden, so that so narrow a model starts to learn at once."""


class Digits(pydantic.BaseModel):
    """scikit-learn's copy of the test set of Alpaydin & Kaynak's Optical Recognition of Handwritten Digits (UCI, 1998).

    The model is ``ViTForImageClassification`` of transformers (Dosovitskiy et al., ICLR 2021, arXiv 2010.11929) without
    dropout. There is no pretrained one for images this small: all its parameters are drawn by the key of the run,
    trained and sent. Nothing is read from the network. Pixels 0 … 16 are mapped to [−1, 1].

    Args:
        kind: tells this task from others.
        hidden: width of the hidden states; the feed-forward layers are twice as wide.
        layers: of the transformer.
        heads: of its attention.
        partition: a name or a table: ``iid``, ``dirichlet``, ``label``, ``quantity``.
        train_rows: of a client, the mean.
        test_rows: likewise; a client divides its rows in the proportion of both.
        validation: rows on the server, seen by reduces with an objective.
        tuning: rows on the server on which settings are chosen.
        pool_seed: draws the rows that are used out of the data.

    Raises:
        ValueError: (as pydantic's ValidationError) an unknown field, a wrong type, a value out of range.

    Example:
        >>> Digits(partition={"name": "dirichlet", "alpha": 0.3, "clients": 20}, train_rows=50).name
        'digits'
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    kind: Literal["digits"] = "digits"
    hidden: int = pydantic.Field(default=32, ge=1)
    layers: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=4, ge=1)
    partition: AnyPartition = Iid()
    train_rows: int = pydantic.Field(default=100, ge=1)
    test_rows: int = pydantic.Field(default=30, ge=1)
    validation: int = pydantic.Field(default=120, ge=0)
    tuning: int = pydantic.Field(default=120, ge=0)
    pool_seed: int = 0

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Digits:
        if isinstance(self.partition, BySource):
            raise ValueError('another partition than "source": the images do not say who wrote them')
        if self.hidden % self.heads:
            raise ValueError(f"a width that {self.heads} heads can share, not hidden = {self.hidden}")
        return self

    @property
    def name(self) -> str:
        """What the task is called in tables."""
        return "digits"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return CLASSES

    @property
    def cuts(self) -> int:
        """Before the first layer, and after each one but the last, of which the head reads a single token."""
        return self.layers

    @property
    def limits(self) -> Limits:
        """How many rows are used where."""
        return Limits(self.train_rows, self.test_rows, self.validation, self.tuning)

    @cached_property
    def data(self) -> tuple[Float32[np.ndarray, "n 1 8 8"], Int64[np.ndarray, " n"]]:
        """The pool's images and labels.

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        images, labels = _load()
        rows = pool(labels, np.zeros_like(labels), self.partition, self.limits, Key.of(self.pool_seed).fold("task"))
        return images[rows], labels[rows]

    def model(self, key: Key) -> torch.nn.Module:
        from transformers import ViTConfig, ViTForImageClassification

        config = ViTConfig(
            hidden_size=self.hidden, num_hidden_layers=self.layers, num_attention_heads=self.heads,
            intermediate_size=2 * self.hidden, image_size=SIDE, patch_size=PATCH, num_channels=1, num_labels=CLASSES,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=_SPREAD,
        )  # fmt: skip
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(key.fold("model").integer())
            model: torch.nn.Module = ViTForImageClassification(config)
        return model.eval()

    def halves(self, model: torch.nn.Module, cut: int) -> Halves:
        if not 0 <= cut < self.cuts:
            raise ConfigError(f"cut {cut} of task 'digits'", f"0 to {self.cuts - 1}")
        return Halves(_Below(model, cut), _Above(model, cut), (TOKENS, self.hidden))

    def split(self, key: Key) -> Split:
        labels = self.data[1]
        return divide(labels, np.zeros_like(labels), (), self.partition, self.limits, key.fold("split"))

    def lengths(self) -> Int64[np.ndarray, " n"]:
        return np.full(len(self.data[1]), TOKENS, np.int64)

    def labels(self) -> Int64[np.ndarray, " n"]:
        return self.data[1]

    def collate(self, rows: Rows) -> Batch:
        images, labels = self.data
        return Batch({"pixel_values": torch.from_numpy(images[rows])}, torch.from_numpy(labels[rows]))

    def forward(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        logits: torch.Tensor = model(**inputs).logits
        return logits

    def losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs.float(), labels, reduction="none")

    def metrics(self, outputs: Float32[np.ndarray, "n classes"], rows: Rows) -> Mapping[str, float]:
        return classification(outputs, self.data[1][rows])

    def save_adapter(self, vector: Float32[np.ndarray, " d"], folder: str | Path) -> Path:
        """Writes the trained model as a folder that ``ViTForImageClassification.from_pretrained`` loads."""
        model: Any = self.model(Key.of(0))
        load_vector(model, vector)
        with quiet():
            model.save_pretrained(str(folder))
        return Path(folder)


def _load() -> tuple[Float32[np.ndarray, "n 1 8 8"], Int64[np.ndarray, " n"]]:
    if importlib.util.find_spec("sklearn") is None:
        given = "the digits come with scikit-learn, which is not installed"
        raise MissingExtraError(given, "", 'install it with: pip install "qfedfm[demo]"')
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / (GREYS / 2) - 1).astype(np.float32).reshape(-1, 1, SIDE, SIDE)
    return images, labels.astype(np.int64)


class _Below(torch.nn.Module):
    """Embeddings and the layers below the cut."""

    def __init__(self, model: Any, cut: int) -> None:
        super().__init__()
        self.embeddings, self.layers = model.vit.embeddings, model.vit.layers[:cut]

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.embeddings(pixel_values)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class _Above(torch.nn.Module):
    """The layers above the cut, and the head over the class token."""

    def __init__(self, model: ViTForImageClassification, cut: int) -> None:
        super().__init__()
        self.layers, self.layernorm, self.classifier = model.vit.layers[cut:], model.vit.layernorm, model.classifier

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = features
        for layer in self.layers:
            hidden = layer(hidden)
        logits: torch.Tensor = self.classifier(self.layernorm(hidden)[:, 0])
        return logits
