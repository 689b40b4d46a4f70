"""The rules of the house that no linter knows: what imports cost, sizes, randomness, paths, links, pages kept true."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qfedfm.core import registry

ROOT = Path(__file__).parent.parent
PARTS = [entry for entry in registry.entries() if entry.part.__module__.startswith("qfedfm.")]
LIBRARY = sorted((ROOT / "qfedfm").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = ("torch", "transformers", "peft", "qiskit", "pennylane", "scipy", "pandas", "matplotlib")


def tracked(*suffixes: str) -> list[Path]:
    """Files that git knows, those with one of the suffixes if any is given, without those deleted in the work tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in LIBRARY]


@pytest.mark.parametrize("module", ["qfedfm", "qfedfm.cli", "qfedfm.engine.doctor"])
def test_an_import_is_cheap(module):
    """`qfedfm --help` must not wait for torch or qiskit."""
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_files_and_functions_stay_small():
    large = [short(path) for path in LIBRARY if len(path.read_text(encoding="utf-8").splitlines()) > 300]
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno >= 60:
                large.append(f"{short(path)}:{node.lineno} {node.name}")
    assert large == []


def test_nothing_is_pickled_and_no_generator_is_global():
    """Streams come from a Key; torch's own may be seeded only inside ``fork_rng``, which puts it back."""
    banned = {"pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "random"}
    found = []
    for path, tree in trees():
        forked = {
            id(inner)
            for block in ast.walk(tree)
            if isinstance(block, ast.With) and any("fork_rng" in ast.unparse(item) for item in block.items)
            for inner in ast.walk(block)
        }
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong = any(name.split(".")[0] in banned for name in names)
            if isinstance(node, ast.Call):
                wrong = _global_randomness(node, inside_fork=id(node) in forked)
            if wrong:
                found.append(f"{short(path)}:{node.lineno} {ast.unparse(node)[:60]}")
    assert found == []


def _global_randomness(call: ast.Call, *, inside_fork: bool) -> bool:
    name = ast.unparse(call.func)
    if re.match(r"(np|numpy)\.random\.", name):
        return name.rpartition(".")[2] not in ("Generator", "PCG64")
    if re.match(r"torch\.(manual_seed|seed|rand|randn|randint|randperm|bernoulli|multinomial|normal)$", name):
        return not inside_fork and not any(keyword.arg == "generator" for keyword in call.keywords)
    return name == "torch.load"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("np.random.rand(3)", True),
        ("np.random.default_rng()", True),
        ("np.random.Generator(bits)", False),
        ("torch.randn(3)", True),
        ("torch.randn(3, generator=g)", False),
        ("torch.load(path)", True),
        ("key.numpy().random()", False),
    ],
)
def test_the_search_for_global_generators_finds_them(line, wrong):
    assert _global_randomness(ast.parse(line, mode="eval").body, inside_fork=False) is wrong


def test_the_library_has_no_asserts_and_no_broad_excepts():
    found = []
    for path, tree in trees():
        for node in ast.walk(tree):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            )
            if broad or isinstance(node, ast.Assert):
                found.append(f"{short(path)}:{node.lineno}")
    assert found == []


def test_tracked_files_name_no_machine():
    """A path of somebody's computer, or a package index, in what is published."""
    pattern = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users|opt)/\w|index-url|(?:files|www)\.pythonhosted")
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_bytes().decode("utf-8", errors="ignore").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{short(path)}:{number} {line.strip()[:80]}")
    assert found == []


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_of_the_documentation_lead_somewhere():
    broken = []
    for page in tracked(".md"):
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
        for target in targets:
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
                broken.append(f"{short(page)}: {target}")
    assert broken == []


def test_the_version_agrees():
    assert importlib.metadata.version("qfedfm") == PROJECT["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## (Unreleased|{re.escape(PROJECT['version'])}\b)", changelog, re.MULTILINE)


@pytest.mark.parametrize("entry", PARTS, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_a_part_says_what_it_is_and_where_it_is_from(entry):
    doc = (entry.part.__doc__ or "").strip()
    assert len(doc) > 20
    assert not doc.startswith(f"{entry.part.__name__}("), "the docstring that a dataclass makes by itself"
    related = entry.control_of or any(entry.name in other.twins for other in registry.entries(entry.kind))
    assert entry.paper
    cited = re.search(r"(19|20)\d\d|\d{4}\.\d{4,5}|IEEE \d+", entry.paper)
    assert related or cited, "a year, an arXiv number or a standard"
    known = {other.name for other in registry.entries(entry.kind)}
    assert set(entry.twins) <= known
    assert not entry.control_of or entry.control_of in known
    assert not entry.quantum or entry.twins or entry.control_of, "a quantum part has a twin or is a control"
    assert all(reason for reason in entry.part.exempt.values())


def test_the_page_of_parts_is_the_register():
    """Written by `python docs/methods.py`."""
    spec = importlib.util.spec_from_file_location("methods_page", ROOT / "docs" / "methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(PARTS)


def _name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


def test_the_constraints_pin_what_the_project_asks_for():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin)] == []
    asked = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    assert {_name(requirement) for requirement in asked} - {"qfedfm"} <= {_name(pin) for pin in pins}


@pytest.mark.parametrize(
    ("target", "last"),
    [("demo", "bin/qfedfm run experiments/quickstart.toml --resume"), ("test", "bin/pytest --numprocesses=auto")],
)
def test_make_does_what_the_readme_says(target, last, tmp_path):
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # of a make that may be running the tests
    alone = {name: value for name, value in os.environ.items() if name not in outer}
    steps = subprocess.run(
        ["make", "-n", target, f"VENV={tmp_path / 'new'}"],
        cwd=ROOT, env=alone, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    command = f'pip install -c constraints.txt -e ".[{target}]"'
    assert command in steps
    assert last in steps.splitlines()[-1]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"make {target}" in readme
    assert command in readme


def test_pre_commit_needs_no_network():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    assert len(re.findall(r"language: system", text)) == len(re.findall(r"entry:", text)) > 0
