"""The errors, lengths and speeds of codecs, on toy vectors."""

import io
import itertools
import math

import numpy as np
import pytest

from qfedfm.bench import codecs, page
from qfedfm.bench.figure import draw
from qfedfm.bench.ours import codec_speed
from qfedfm.bench.ours import codecs as ours
from qfedfm.bench.ours.updates import deltas
from qfedfm.bench.process import BenchError
from qfedfm.bench.runner import Runner
from qfedfm.bench.simulate import settings
from qfedfm.bench.sources import GAUSSIAN, LORA, SOURCES, STUDENT, Source, record
from qfedfm.bench.table import table
from qfedfm.bench.workload import Federation
from qfedfm.core.float32 import Float32Codec
from qfedfm.core.layout import Layout
from qfedfm.core.registry import build
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.machine import client_engine
from qfedfm.layers.ecdq import Ecdq

LAYOUT = Layout.of({"q.lora_A.weight": (8, 48), "q.lora_B.weight": (48, 8), "head": (4, 8)})


@pytest.fixture
def folder(tmp_path):
    """With three recorded updates of 800 numbers."""
    record(tmp_path, LAYOUT, list(np.random.default_rng(1).normal(0, 1e-3, (3, LAYOUT.size)).astype("f4")))
    return tmp_path


def play(side):
    """What the programs would say if peers had 0.4 · 4^−bits and ours half of that and half the speed."""
    given, number = side.options, itertools.count(1)
    assert side.command[1].startswith("qfedfm.bench.ours.")
    if side.name == "recording":
        return {"size": 1000}
    assert side.environment["OMP_NUM_THREADS"] == "1"
    both = {"ours": {"encode": 50.0, "decode": 80.0}, "peer": {"encode": 100.0, "decode": 160.0}}
    if "calls" in given:
        own = [both["ours"], both["peer"], both["ours"]]
        return {"own": own, "cases": [both] * len(given["codecs"])}
    lines = []
    for config in given["codecs"]:
        bits = next(number) / 5
        line = {"config": config, "unbiased": config["name"] != "top-k", "bits": bits, "ours_bits": bits, "overran": 0}
        lines.append({**line, "nmse": 0.4 / 4**bits, "ours_nmse": 0.2 / 4**bits})
    lines[0]["overran"] = 0.015
    own = [{"bits": bits, "nmse": 0.5 / bits} for bits in given["budgets"]]
    return {"own": own, "cases": lines, "environment": {"platform": "Linux", "cores": 2, "commit": "abc"}}


@pytest.fixture(scope="module")
def report():
    cases, environment = codecs.bench(Runner(True, 2, play=play))
    environment["packages"] = {"torch": "2.13.0"}
    return {"schema": 1, "name": "codecs", "environment": environment, "cases": cases}


def test_a_line_of_the_report_compares_at_equal_bytes(report):
    lines = {(line["source"], line["codec"]): line for line in report["cases"] if "rate" in line}
    eden = lines[GAUSSIAN, "eden(bits=2)"]
    assert (eden["ratio"], eden["target"], eden["unit"]) == (2.0, 1.0, "NMSE")
    assert eden["rate"] == {"ours": 0.4, "peer": 0.4}
    assert eden["limit"] == pytest.approx(4**-0.4, rel=1e-3)
    assert eden["unbiased_limit"] == pytest.approx(1 / (4**0.4 - 1), rel=1e-3)
    assert eden["encode"] == {"ours": 50.0, "peer": 100.0}
    assert eden["framed"] == pytest.approx(0.4 + 480 / 2**18, abs=1e-4)
    recorded = lines[LORA, "eden(bits=2)"]
    assert recorded["framed"] == pytest.approx(0.4 + 480 / 1000)
    assert "limit" not in recorded
    assert "overran its budget by 1.5 %" in lines[STUDENT, "eden(bits=1)"]["note"]
    assert {line["codec"].partition("(")[0] for line in lines.values() if "target" in line} == {"eden", "qsgd"}
    assert not any(line["unbiased"] for (_, codec), line in lines.items() if codec.startswith("top-k"))


def test_what_is_aimed_for_is_a_case_of_its_own(report):
    own = {line["case"]: line for line in report["cases"] if "rate" not in line}
    error = own[f"ecdq(bits=2), {GAUSSIAN}: error"]
    assert (error["ours"], error["peer"], error["ratio"]) == (0.25, 0.10, 0.4)
    assert own[f"ecdq(bits=2), {LORA}: decode"]["ratio"] == 1.6
    assert own[f"ecdq(bits=2), {STUDENT}: error"]["peer"] == 0.085
    limit = own[f"ecdq(bits=4), {LORA}: error"]
    assert (limit["peer"], limit["peer_name"]) == (pytest.approx(1 / 255, rel=1e-3), codecs.LIMIT)
    assert {line["case"] for line in own.values() if "target" not in line} == {
        f"ecdq(bits={bits}), {source}: error"
        for source, bits in [(STUDENT, 1), (STUDENT, 4), *((LORA, b) for b in (1, 2, 4))]
    }
    assert len(own) == 3 * 3 * 3
    assert table(report).row_count == len(report["cases"])


def test_the_page_has_two_tables_and_the_figure_a_column_for_each_source(report):
    text = page.section(report)
    assert f"| ecdq(bits=2), {GAUSSIAN}: error | NMSE | 0.25 | 0.1 | the most that it may be | 0.4× | 1 ✗ |" in text
    assert f"| {LORA} | eden(bits=2) | 0.400 | 0.880 | 0.23 | 0.115 | 2× | 1 ✓ | 100 | 50 | 160 | 80 |" in text
    assert f"| {GAUSSIAN} | top-k(fraction=0.04575, values=bfloat16) (biased) |" in text
    figure = draw(report)
    assert [axes.get_title() for axes in figure.axes[:3]] == list(SOURCES)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["eden"].get_xdata()) == [0.2, 0.4, 0.6]
    assert list(lines["ecdq"].get_xdata()) == [1, 2, 4]
    assert list(lines["ecdq"].get_ydata()) == [0.5, 0.25, 0.125]
    assert lines["top-k"].get_markerfacecolor() == "none"
    limit = lines["limit (Gaussian)"]
    np.testing.assert_allclose(limit.get_ydata(), 4.0 ** -limit.get_xdata())
    image = io.BytesIO()
    figure.savefig(image, format="png")
    assert len(image.getvalue()) > 20_000


def test_every_peer_is_a_codec_whose_name_says_its_options():
    labels = [codecs.label(config) for config in codecs.peers(LORA)]
    assert len(set(labels)) == len(labels)
    assert set(map(codecs.label, codecs.peers(GAUSSIAN))) < set(labels)
    for config in codecs.peers(LORA):
        assert build("codec", config).name == config["name"]


@pytest.mark.parametrize(("bits", "width"), [(1.0, 16), (2.0, 16), (4.0, 32)])
def test_the_fraction_of_top_k_has_the_bits(bits, width):
    p = codecs.fraction(bits, width)
    assert -p * math.log2(p) - (1 - p) * math.log2(1 - p) + p * width == pytest.approx(bits, rel=1e-3)


@pytest.mark.parametrize("name", SOURCES)
def test_draws_differ_and_come_again(name, folder):
    source = Source.of(name, folder, 1000)
    x = source.vector(0)
    assert x.dtype == np.float32
    assert x.shape == (source.layout.size,)
    np.testing.assert_array_equal(x, Source.of(name, folder, 1000).vector(0))
    assert not np.array_equal(x, source.vector(1))
    assert source.at(0).key != source.at(1).key
    assert 0.3 < np.square(x).mean() < 3


def test_recorded_updates_come_back_in_their_layout(folder):
    source = Source.of(LORA, folder)
    assert source.layout == LAYOUT
    assert len(source.layout.lora_pairs) == 1
    np.testing.assert_array_equal(source.vector(0), source.vector(3))
    assert source.at(0).key != source.at(3).key


def test_the_error_is_that_of_the_closed_form_and_ours_takes_no_more_bytes(folder):
    """random-k: E‖x̂ − x‖²/‖x‖² = d/k − 1 = 3 at 8 bits a coordinate, whatever x."""
    source = Source.of(GAUSSIAN, folder, 4096)
    config = {"name": "random-k", "fraction": 0.25}
    found = ours.measured(build("codec", config), config, source, 20)
    assert found["nmse"] == pytest.approx(3, rel=0.1)
    assert (found["bits"], found["unbiased"]) == (8.0, True)
    assert 7.5 < found["ours_bits"] <= 8
    assert found["ours_nmse"] < 1e-4
    alone = ours.measured(Ecdq(bits=2.0), None, source, 2)
    assert set(alone) == {"config", "unbiased", "bits", "nmse"}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("allowed", [0.8, 2.0, 3.5])
def test_ours_never_has_more_than_is_allowed(name, allowed, folder):
    for number in range(3):
        bits, error, overran = ours.within(allowed, Source.of(name, folder, 2048), number)
        assert bits <= allowed
        assert error > 0
        assert overran >= 0


def test_a_budget_that_is_overrun_is_lowered_and_one_that_cannot_be_met_is_said(monkeypatch, folder):
    """A codec that takes a quarter more than its budget, and at least 0.4 bits."""
    source, budgets = Source.of(GAUSSIAN, folder, 100), []

    def once(codec, source, draw):
        budgets.append(codec.bits)
        return max(1.25 * codec.bits, 0.4), 0.1

    monkeypatch.setattr(ours, "once", once)
    assert ours.within(1.0, source, 0) == pytest.approx((1.0, 0.1, 0.25))
    assert budgets == [1.0, 0.8]
    with pytest.raises(BenchError, match=r"ecdq takes more than 0\.3 bits of Gaussian at any budget"):
        ours.within(0.3, source, 0)


def test_speeds_are_of_processor_time_in_turns(monkeypatch, folder):
    """A clock that moves by 1 s in each call: 4·1000 bytes in a second."""
    source, seen = Source.of(GAUSSIAN, folder, 1000), []
    clock = itertools.count(0.0)
    monkeypatch.setattr(codec_speed.time, "process_time", lambda: next(clock))

    class Spy(Float32Codec):
        def encode(self, x, at):
            seen.append((self, at.round))
            return super().encode(x, at)

    spies = [Spy(), Spy()]
    found = codec_speed.speeds(spies, source, 2)
    assert [(id(spy), turn) for spy, turn in seen] == [(id(spy), turn) for turn in (1, 2, 3) for spy in spies]
    assert found == [{"encode": 0.004, "decode": 0.004}] * 2


def test_updates_are_what_clients_train():
    """Of one step of AdamW no number moves further than its rate, and the second round starts from the mean."""
    made = settings(2, 2)
    made["task"] |= {"partition": {"name": "iid", "clients": 2}, "train_rows": 24, "test_rows": 8, "max_tokens": 16}
    made["training"] |= {"steps": 1}
    made["engine"] = {"mode": "sequential", "device": "cpu"}
    federation = Federation.of(made)
    engine = client_engine(Experiment.of(made).engine, federation.task)
    found = deltas(engine, federation)
    assert [one.shape for one in found] == [(engine.layout.size,)] * 4
    assert all(0.5e-3 < np.abs(one).max() < 1.01e-3 for one in found)
    *_, last = experiment = list(Experiment.of(made).rounds(task=federation.task))
    weights = [federation.samples(client) for client in federation.clients]
    moved = sum(np.average(found[i : i + 2], axis=0, weights=weights) for i in (0, 2))
    np.testing.assert_allclose(moved, last.model - experiment[0].model, atol=1e-6)
