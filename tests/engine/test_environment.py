"""A result names the commit of this library, and of nothing else."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from qfedfm.engine import environment


@pytest.fixture
def installed(tmp_path):
    """A repository of somebody, and this library's module inside it, as a function of whether it is tracked."""

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def make(*, tracked):
        git("init", "-q")
        folder = tmp_path / "qfedfm" / "engine"
        folder.mkdir(parents=True)
        shutil.copy(environment.__file__, folder / "environment.py")
        (tmp_path / "qfedfm" / "part.py").write_text("")
        (tmp_path / "notes.txt").write_text("")
        git("add", "." if tracked else "notes.txt")
        git("commit", "-q", "-m", "first")
        spec = importlib.util.spec_from_file_location("copied", folder / "environment.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module, git

    return make


def test_the_commit_and_whether_the_library_differs_from_it(installed, tmp_path):
    module, git = installed(tracked=True)
    head = git("rev-parse", "HEAD")
    assert module.commit() == head
    (tmp_path / "notes.txt").write_text("not of the library")
    (tmp_path / "qfedfm" / "new.py").write_text("")
    assert module.commit() == head
    (tmp_path / "qfedfm" / "part.py").write_text("changed = True")
    assert module.commit() == head + "+"


def test_a_repository_around_an_installed_library_is_not_its_own(installed):
    module, git = installed(tracked=False)
    assert git("rev-parse", "HEAD")
    assert module.commit() is None


def test_this_checkout():
    root = Path(environment.__file__).parents[2]
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    found = environment.commit()
    assert (found or "").rstrip("+") == head.stdout.strip()
