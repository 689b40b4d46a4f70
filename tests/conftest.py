"""Shapes in the annotations are checked at run time, in the tests only."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

install_import_hook("qfedfm", "beartype.beartype")
