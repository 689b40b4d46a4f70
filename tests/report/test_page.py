import json
import math
import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from qfedfm.core.errors import CheckpointError
from qfedfm.report.page import write_report
from tests.report import synthetic

SEEDS, ROUNDS = (1, 2, 3), 3
METHODS = ("mean", "born", "amplitudes", "born-no-entangler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("run"), methods=METHODS, seeds=SEEDS, rounds=ROUNDS)


@pytest.fixture(scope="module")
def text(folder):
    return write_report(folder, out=folder / "first.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects ids, references and open elements; HTML that does not nest fails."""

    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.references, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self._note(attributes)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self._note(attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def _note(self, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href"):
                self.references.append(value)
            self.references += [f"#{found}" for found in re.findall(r"url\(#([^)]*)\)", value or "")]


def copies(tmp_path, change, **options):
    history = synthetic.history_of(**options)
    results = synthetic.results_of(history, **options)
    change(results, history)
    return synthetic.write(tmp_path / "run", results, history)


def report(folder):
    return write_report(folder).read_text(encoding="utf-8")


SMALL = {"methods": ("born", "amplitudes"), "seeds": (1, 2), "rounds": 2}


def test_nothing_is_loaded_from_anywhere(text):
    assert not re.search(r"https?:|//[a-z]|@import|<script|<link|<img|<iframe", text)
    assert "default-src 'none'" in text
    assert all(reference.startswith("#") for reference in Reader(text).references)


def test_html_nests_and_its_ids_are_unique_and_found(text):
    page = Reader(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {reference[1:] for reference in page.references} <= set(page.ids)


def test_every_figure_is_there_and_is_xml(text):
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    titles = [re.search(r"<title>(.*?)</title>", figure)[1] for figure in figures]
    for figure in figures:
        ElementTree.fromstring(figure.replace("<svg", '<svg xmlns:xlink="x"', 1))
    for start in (
        "Paired differences", "Final accuracy", "Accuracy by round", "Accuracy by uplink", "Loss by round",
        "Accuracy of each client", "Client weights by round under born", "Circuit of born:",
    ):  # fmt: skip
        assert any(title.startswith(start) for title in titles), start


def test_figures_follow_the_theme(text):
    drawn = " ".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert not re.search(r"(?:fill|stroke): ?#", drawn)
    names = set(re.findall(r"var\(--([\w]+)\)", text))
    for name in names:
        assert len(re.findall(rf"--{name}:", text)) >= 1, name
    assert text.count("--ink:") == 3  # light, dark, print
    assert "font-family: var(--sans)" in drawn
    assert "font-family: 'DejaVu" not in drawn


def test_conclusion_comes_before_any_figure(text):
    assert 0 < text.index("Does the quantum module earn its place?") < text.index("<svg")


def test_same_input_gives_the_same_bytes_whatever_the_users_settings(folder, text):
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.facecolor": "red"}):
        assert write_report(folder, out=folder / "second.html").read_text(encoding="utf-8") == text
        assert mpl.rcParams["font.size"] == 30


def test_what_the_files_say_is_on_the_page(text):
    for said in ("0123456789ab", "fedcba9876543210", "bfloat16", "Coachella", "training.rate = 0.003", "chosen"):
        assert said in text
    assert "nan at coordinate 0 (head.weight)" in text
    assert '<td class="text">exact</td>' in text
    assert "in 2 of 3 seeds" in text
    assert "4 qubits for 10 clients" in text
    assert "still running" not in text
    assert "with local changes" not in text


def test_names_are_escaped(tmp_path):
    def change(results, history):
        results["experiment"]["name"] = "<script>alert(1)</script>"
        results["clients"]["0"]["name"] = "a<b>&\"c' $x_{$"
        results["conclusion"] = ["<img src=x onerror=alert(1)>"]
        for line in (*results["runs"], *history, *results["tuning"]["trials"]):
            line["method"] = line["method"].replace("amplitudes", "<i>amp</i>")
        history[3]["refused"] = [{"client": 0, "reason": "</td><b>"}]
        results["summary"] = []

    text = report(copies(tmp_path, change, **SMALL))
    assert not re.search(r"<(script|img|i|b)\b", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert Reader(text).open == []
    assert text.count("a&lt;b&gt;&amp;") >= 2  # the figure of the clients and the tables
    assert "$x_{$" in text


def test_a_run_that_is_still_running(tmp_path):
    def change(results, history):
        results["runs"] = results["runs"][:3]
        results["summary"], results["conclusion"] = [], []
        del history[-2:]

        results["environment"]["commit"] = "abcdef0123456789+"

    text = report(copies(tmp_path, change, **SMALL))
    assert "abcdef012345</code> with local changes" in text
    assert "still running or was interrupted: 3 of 4 runs have finished" in text
    assert "in the one seed that both have" in text
    assert "Accuracy by round" in text


def test_runs_that_are_played_together_and_have_not_finished(tmp_path):
    def change(results, history):
        for number, run in enumerate(results["runs"]):
            run["rounds"] = results["experiment"]["rounds"] - (number > 0)
        results["experiment"]["rounds"] = results["runs"][0]["rounds"]

    text = report(copies(tmp_path, change, **SMALL))
    assert "interrupted: 1 of 4 runs have finished; the others are after round 1 of 2. What follows" in text


def test_only_a_history_yet(tmp_path):
    (tmp_path / "history.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in synthetic.history_of(("mean",), (1,), 2)) + '{"method": "me'
    )
    text = report(tmp_path)
    assert "No run has finished yet" in text
    assert "Accuracy by round" in text


def test_nothing_but_an_empty_result(tmp_path):
    synthetic.write(tmp_path, {"schema": 1, "runs": []}, [])
    assert "No run has finished yet" in report(tmp_path)


def test_one_method_on_one_seed(tmp_path):
    folder = synthetic.write(tmp_path, methods=("mean",), seeds=(1,), rounds=2)
    text = report(folder)
    assert "No quantum method took part" in text
    assert "Paired differences of" not in text


def test_missing_and_broken_numbers_are_dashes(tmp_path):
    def change(results, history):
        results["runs"][0]["final"] = {"accuracy": math.nan, "loss": None}
        results["runs"][1] |= {"uplink_bytes": None, "server_seconds": math.inf}
        results["summary"], results["conclusion"] = [], []
        for line in history[::2]:
            line |= {"accuracy": None, "loss": math.nan, "client_accuracy": None, "client_weights": {"0": None}}
        results["environment"], results["clients"], results["tuning"] = None, None, None

    text = report(copies(tmp_path, change, **SMALL))
    assert ">–</td>" in text
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"<svg.*?</svg>|<pre>.*?</pre>", "", text, flags=re.DOTALL))


def test_a_method_that_this_version_cannot_build(tmp_path):
    def change(results, history):
        results["experiment"]["compare"]["born"] = {"reduce": {"name": "born", "unheard": 1}}

    assert "not drawn: unknown option &#39;unheard&#39;" in report(copies(tmp_path, change, **SMALL))


def test_without_qiskit_the_circuit_is_a_line(tmp_path, monkeypatch):
    folder = synthetic.write(tmp_path, **SMALL)
    monkeypatch.setitem(sys.modules, "qiskit", None)
    text = report(folder)
    assert "not drawn: qiskit is not installed" in text


def test_shots_are_said(tmp_path):
    def change(results, history):
        for run in results["runs"]:
            run["shots"] = 100_000 if run["quantum"] else 0

    text = report(copies(tmp_path, change, **SMALL))
    assert '<td class="text">finite shots</td>' in text
    assert "<td>100\u2009000</td>" in text


def test_several_studies_on_one_page(tmp_path):
    first = synthetic.write(tmp_path / "a", methods=("amplitudes", "mean"), seeds=(1,), rounds=1)
    second = synthetic.write(tmp_path / "b", methods=("born", "amplitudes"), seeds=(1,), rounds=1)
    out = write_report(first, second, out=tmp_path / "new" / "both.html")
    assert out == tmp_path / "new" / "both.html"
    text = out.read_text(encoding="utf-8")
    page = Reader(text)
    assert len(page.ids) == len(set(page.ids))
    assert {"s0-study", "s1-study"} <= set(page.ids)
    assert text.count("Does the quantum module earn its place?") == 1  # the first has no quantum method
    assert text.count("No quantum method took part") == 1


def test_default_place_and_no_leftovers(tmp_path):
    folder = synthetic.write(tmp_path, methods=("mean",), seeds=(1,), rounds=1)
    assert write_report(folder) == folder / "report.html"
    assert sorted(path.name for path in folder.iterdir()) == ["history.jsonl", "report.html", "results.json"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, None, "neither results.json nor history.jsonl"),
        ("results.json", "{", "cannot be read"),
        ("results.json", '{"schema": 2, "runs": []}', "schema 2; expected 1"),
        ("results.json", "[]", "schema None"),
        ("results.json", '{"schema": 1, "runs": [{"seed": 1}]}', "without a list of runs"),
        ("history.jsonl", '{"method": "a"}\n', "line 1 of .* is damaged"),
        ("history.jsonl", 'x\n{"method": "a", "seed": 1, "round": 0}\n', "line 1 of .* is damaged"),
    ],
)
def test_foreign_and_damaged_folders(tmp_path, name, content, message):
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "history.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(CheckpointError, match="cannot be read"):
        write_report(tmp_path)


def test_missing_folder_and_no_folder(tmp_path):
    with pytest.raises(CheckpointError, match="is no folder; expected a folder that `qfedfm run` wrote"):
        write_report(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="no folder; expected at least one"):
        write_report()
