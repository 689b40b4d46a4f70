"""Shapes in the annotations are checked at run time, in the tests only."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

install_import_hook("qfedfm", "beartype.beartype")

from qfedfm.adapters.torchvision import hide_unusable_torchvision  # noqa: E402 (after the hook)

hide_unusable_torchvision()  # before a test imports transformers by itself
