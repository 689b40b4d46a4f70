"""Methods with phases: which rounds have which settings, and what goes on from one stage to the next."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.core import wire
from qfedfm.core.errors import ConfigError
from qfedfm.engine import waves
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.state import load, save
from tests.engine.test_rounds import bench
from tests.engine.test_run import without_times
from tests.engine.tiny import SETTINGS

WHOLE = 4 * 15 + wire.OVERHEAD


def play(rounds, **changes):
    made = bench(rounds=rounds, **changes)
    setting = made.setting(made.experiment.arm("mean"), 1, rounds)
    states = waves.begin(made.engine, [setting])
    for _ in range(rounds):
        states.append(waves.next_round(setting, states[-1]))
    return setting, states


def test_each_stage_has_its_own_clients_steps_and_codec():
    stages = [
        {"rounds": 2, "participation": {"clients_per_round": 3}, "layers": ["bfloat16"], "training": {"steps": 5}},
        {"training": {"epochs": 1}},
    ]
    setting, states = play(4, stage=stages)
    records = [state.history[-1] for state in states[1:]]
    assert [len(record["participants"]) for record in records] == [3, 3, 6, 6]
    assert [record["uplink_bytes"] for record in records] == [3 * (30 + wire.OVERHEAD)] * 2 + [6 * WHOLE] * 2
    assert [record["client_steps"] for record in records][:2] == [15, 15]
    assert records[2]["client_steps"] == sum(-(-len(rows) // 8) for rows in setting.split.train.values())
    assert setting.of(2) is setting
    assert setting.of(3) is not setting


def test_one_stage_for_all_is_the_method_itself():
    _, plain = play(3)
    _, staged = play(3, stage=[{"rounds": 1}, {}])
    np.testing.assert_array_equal(plain[3].model, staged[3].model)


def test_a_method_may_have_stages_of_its_own():
    compare = {"one": {}, "two": {"stage": [{"rounds": 1, "layers": ["bfloat16"]}, {"down": "bfloat16"}]}}
    experiment = Experiment.of({**SETTINGS, "compare": compare, "stage": [{"rounds": 2}, {"server": "adam"}]})
    one, two = experiment.arm("one"), experiment.arm("two")
    assert [(first, arm.server.name) for first, arm in ((1, one), *one.later)] == [(1, "sgd"), (3, "adam")]
    assert [(first, arm.aggregator.codec.name) for first, arm in ((1, two), *two.later)] == [
        (1, "bfloat16"),
        (2, "float32"),
    ]
    assert two.later[0][1].down.name == "bfloat16"


@pytest.mark.parametrize(
    ("second", "kept"),
    [
        ({}, {"server", "clients"}),
        ({"server": {"name": "sgd", "momentum": 0.5}}, {"clients"}),
        ({"layers": ["bfloat16"]}, {"server"}),
        ({"layers": [{"name": "ef21", "codec": "bfloat16"}], "training": {"rate": 0.01}}, {"server", "clients"}),
    ],
)
def test_state_goes_on_where_its_part_stays_the_same(second, kept):
    method = {"server": {"name": "sgd", "momentum": 0.9}, "layers": [{"name": "ef21", "codec": "bfloat16"}]}
    seen = []
    original = waves.open_round

    def watched(setting, state, group=0):
        seen.append(state)
        return original(setting, state, group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waves, "open_round", watched)
        _, states = play(2, method=method, stage=[{"rounds": 1}, second])
    before, opened = states[1], seen[1]
    assert before.server["momentum"].any()
    assert before.clients
    assert bool(opened.server["momentum"].any()) == ("server" in kept)
    assert bool(opened.clients) == ("clients" in kept)
    np.testing.assert_array_equal(opened.model, before.model)


def test_another_codec_on_the_way_down_goes_on_from_what_clients_have():
    _, states = play(4, stage=[{"rounds": 2, "down": "bfloat16"}, {"down": {"name": "top-k", "fraction": 0.2}}])
    bytes_ = [state.history[-1]["downlink_bytes"] for state in states[1:]]
    assert bytes_[0] == 6 * WHOLE
    assert bytes_[1] == 6 * (30 + wire.OVERHEAD)
    assert bytes_[2] == bytes_[3] < bytes_[1]


def test_a_run_with_stages_goes_on_from_a_checkpoint(tmp_path):
    stages = [{"rounds": 2, "layers": ["bfloat16"], "down": "bfloat16"}, {"server": "adam"}]
    setting, states = play(4, stage=stages)
    for before, after in itertools.pairwise(states):
        save(tmp_path / "state", before, {})
        again = waves.next_round(setting, load(tmp_path / "state", {}))
        assert without_times(again.history[-1]) == without_times(after.history[-1])
        np.testing.assert_array_equal(again.model, after.model)
        assert replace(again, history=()).round == after.round


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{}, {}], "every stage but the last"),
        ([{"rounds": 3}, {}], "make up the 3 rounds"),
        ([{"rounds": 1}, {"rounds": 1}], "make up the 3 rounds"),
        ([{"rounds": 3, "layers": ["no-such"]}], "unknown layer"),
        ([{"rounds": 3, "participation": {"clients": 2}}], "clients"),
        ([{"rounds": 3, "selecter": 1}], "selecter"),
    ],
)
def test_stages_that_do_not_fit_are_refused(stages, message):
    with pytest.raises(ConfigError, match=message):
        Experiment.of({**SETTINGS, "stage": stages})
