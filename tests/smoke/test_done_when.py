"""A saved adapter says the same without this library, its bytes are the bytes sent, and the committed study holds."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from qfedfm.adapters.models import resolve_model
from qfedfm.core.stack import Bound
from qfedfm.engine.experiment import Experiment
from qfedfm.report.summary import conclude, declared, summarise
from tests.smoke.agreed import check, check_sums

COMMUNICATION = ("codecs", "fedobd", "h-fl", "security")
"""Questions about bytes and keys, in which no method is quantum."""
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
QUICKSTART = EXPERIMENTS / "quickstart.toml"
COMMITTED = sorted(
    f"{path.parents[2].name}/{path.parent.name}" for path in EXPERIMENTS.glob("*/results/*/results.json")
)
TOY = {
    "seeds": [1], "rounds": 1, "compare": {"mean": {"reduce": "mean"}}, "hostile.clients": 0,
    "task.train_rows": 24, "task.test_rows": 8, "task.validation": 20, "task.tuning": 0,
    "engine.precision": "float32", "engine.device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """One run of the quickstart at toy size: experiment, task, result, and the lengths of all payloads."""
    experiment = Experiment.load(QUICKSTART, TOY)
    task, sent, send = experiment.build_task(), [], Bound.send
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bound, "send", lambda self, *rest: (sent.append(send(self, *rest)), sent[-1])[1])
        result = experiment.run(tmp_path_factory.mktemp("run") / "out", task=task)
    return experiment, task, result, [len(payload) for payload, _ in sent]


def logits_without_this_library(adapter: Path, texts: list[str], classes: int) -> np.ndarray:
    """One text after the other through transformers' model, its tokenizer and PEFT's loader."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    package = resolve_model("minilm")
    tokenizer = AutoTokenizer.from_pretrained(package)
    base = AutoModelForSequenceClassification.from_pretrained(package, num_labels=classes)
    model = PeftModel.from_pretrained(base, str(adapter)).eval()
    found = []
    with torch.no_grad():
        for text in texts:
            encoded = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
            found.append(model(**encoded).logits[0].double().numpy())
    return np.array(found)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # within transformers
def test_peft_loads_the_saved_adapter_and_reproduces_the_reported_accuracy(quickstart):
    from qfedfm.core.key import Key

    _, task, result, _ = quickstart
    (line,) = result.results["runs"]
    split = task.split(Key.of(1).fold("split"))
    rows = np.concatenate([split.test[client] for client in split.clients])
    labels = task.records.labels[rows]
    logits = logits_without_this_library(
        result.folder / line["adapter"], [task.records.texts[row] for row in rows], task.classes
    )
    assert line["final"]["accuracy"] == (logits.argmax(1) == labels).mean()
    loss = np.log(np.exp(logits - logits[np.arange(len(rows)), labels][:, None]).sum(1)).mean()
    assert line["final"]["loss"] == pytest.approx(loss, abs=1e-4)
    assert abs(result.history[0]["loss"] - loss) > 1e-2  # it is the trained adapter, not the first one


@pytest.mark.slow
def test_uplink_bytes_are_the_summed_lengths_of_the_payloads(quickstart):
    _, _, result, sent = quickstart
    (line,) = result.results["runs"]
    assert len(sent) == 10
    assert line["uplink_bytes"] == sum(sent)
    assert min(sent) > 4 * line["trainable_parameters"]


@pytest.mark.slow
def test_the_files_of_the_quickstart_have_the_agreed_schema(quickstart):
    check_sums(*check(quickstart[2].folder))


def folder_of(name: str) -> Path:
    """The results of ``<question>/<variant>``."""
    question, variant = name.split("/")
    return EXPERIMENTS / question / "results" / variant


def test_the_study_is_committed():
    assert {"sources/clean", "sources/sign-flip", "sources/alie"} <= set(COMMITTED)


def test_every_variant_has_its_results():
    assert {f"{path.parent.name}/{path.stem}" for path in EXPERIMENTS.glob("*/*.toml")} == set(COMMITTED)


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_results_have_the_agreed_schema_and_are_whole(name):
    results, history = check(folder_of(name))
    assert results["complete"]
    check_sums(results, history)


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_results_are_those_of_the_committed_experiment(name):
    results = json.loads((folder_of(name) / "results.json").read_text(encoding="utf-8"))
    recorded = json.dumps(results["experiment"], sort_keys=True)
    assert results["environment"]["config_hash"] == hashlib.sha256(recorded.encode()).hexdigest()[:16]
    # a setting that is new since then has its default in both
    assert Experiment.of(results["experiment"]).digest == Experiment.load(EXPERIMENTS / f"{name}.toml").digest
    assert re.fullmatch("[0-9a-f]{40}", results["environment"]["commit"]), "of a library without changes of its own"
    question = name.partition("/")[0]
    if name != "sources/full-lora":
        assert len(results["experiment"]["seeds"]) >= (5 if question in ("sources", *COMMUNICATION) else 10)
    if name != "sources/full-lora" and question not in COMMUNICATION:
        assert any(line["quantum"] and line["control_of"] is None for line in results["summary"])


@pytest.mark.parametrize("name", COMMITTED)
def test_the_summary_follows_from_the_committed_runs(name):
    folder = folder_of(name)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    summary = summarise(results["runs"], *declared(results["runs"]), results["tuning"])
    assert flat(summary) == pytest.approx(flat(results["summary"]), rel=1e-9, abs=1e-12)
    assert conclude(summary, results["runs"]) == results["conclusion"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert results["environment"]["commit"][:7] in page
    assert results["environment"]["config_hash"] in page


def flat(value, path=""):
    """Nested lists and tables as one table from paths to numbers; what is no number becomes part of the path."""
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: number for name, item in pairs for key, number in flat(item, f"{path}/{name}").items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {path: float(value)}
    return {f"{path}={value!r}": 0.0}


@pytest.mark.parametrize("name", COMMITTED)
def test_the_committed_tuning_gave_every_method_the_same_budget(name):
    tuning = json.loads((folder_of(name) / "results.json").read_text(encoding="utf-8"))["tuning"]
    if tuning is None:
        assert not Experiment.load(EXPERIMENTS / f"{name}.toml").tune
        return
    trials = {}
    for trial in tuning["trials"]:
        trials.setdefault(trial["method"], []).append((trial["score"], trial["settings"]))
    assert len({len(each) for each in trials.values()}) == 1
    for method, each in trials.items():
        best = max(score for score, _ in each)
        assert tuning["chosen"][method] in [settings for score, settings in each if score == best]
