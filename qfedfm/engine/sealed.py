"""Files of named arrays that say whose they are and notice when they were altered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from qfedfm.core.errors import CheckpointError
from qfedfm.engine.files import write_bytes


def write_sealed(
    path: Path, tensors: Mapping[str, np.ndarray], about: Mapping[str, Any], identity: Mapping[str, Any]
) -> None:
    """Writes a safetensors file in one atomic step.

    Args:
        path: the file.
        tensors: arrays by name.
        about: JSON values that belong to them.
        identity: which run this is (configuration hash, method, seed), compared when it is read again.
    """
    # not ascontiguousarray, which makes a vector of a single number
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    note = {"identity": dict(identity), **about}
    note["digest"] = _digest(arrays, note)
    write_bytes(path, save_tensors(arrays, {"qfedfm": json.dumps(note)}))


def read_sealed(path: Path, identity: Mapping[str, Any], remedy: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, in any order, and what was said about them; ``remedy`` is what to do about a damaged file.

    Raises:
        CheckpointError: it is of another experiment, damaged, or not such a file.
    """
    content = path.read_bytes()
    try:
        tensors: dict[str, np.ndarray] = load_tensors(content)
        length = int.from_bytes(content[:8], "little")
        about: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["qfedfm"])
        digest, found = about.pop("digest"), about["identity"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error})", "a checkpoint of qfedfm", remedy) from None
    if digest != _digest(tensors, about):
        raise CheckpointError(f"{path} was altered after it was written", "an intact checkpoint", remedy)
    for name, value in identity.items():
        if found.get(name) != value:
            given = f"{path} is of {name} {found.get(name)!r}"
            raise CheckpointError(given, repr(value), "resume with the same experiment, or choose another --out")
    return tensors, about


def _digest(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    state = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        state.update(f"{name}{tensors[name].dtype}{tensors[name].shape}".encode())
        state.update(tensors[name].tobytes())
    return state.hexdigest()
