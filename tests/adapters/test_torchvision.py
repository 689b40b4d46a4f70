"""An unusable torchvision must not stop text models; a usable one is left alone."""

import subprocess
import sys

import pytest

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"
LOOK = """
import importlib.util, sys
sys.path.insert(0, {folder!r})
{before}
from transformers.utils.import_utils import is_torchvision_available
print(is_torchvision_available(), sys.modules.get("torchvision") is not None)
"""


def look(folder, source, before):
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(f"import torchvision.part\n{source}\n")
    (folder / "torchvision" / "part.py").write_text("")
    (folder / "torchvision-9.9.dist-info").mkdir()
    about = "Metadata-Version: 2.1\nName: torchvision\nVersion: 9.9\n"
    (folder / "torchvision-9.9.dist-info" / "METADATA").write_text(about)
    code = LOOK.format(folder=str(folder), before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("source", "before", "expected"),
    [
        (BROKEN, "", ["True", "False"]),  # so transformers would import it, and fail
        (BROKEN, "import qfedfm.adapters", ["False", "False"]),
        ("", "import qfedfm.adapters", ["True", "True"]),
    ],
)
def test_transformers_sees_only_a_torchvision_that_can_be_imported(tmp_path, source, before, expected):
    assert look(tmp_path, source, before) == expected
