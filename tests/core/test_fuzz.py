"""Mutated payloads through every codec and vector layer of the register; ``QFEDFM_FUZZ`` sets how many."""

import os

import numpy as np
import pytest

from qfedfm.core.float32 import Float32Codec
from qfedfm.core.registry import build, entries
from tests.core.fuzz import ats, bound_to, fuzz, mutate
from tests.core.parts import Trusting
from tests.laws.cases import subjects

PAYLOADS = int(os.environ.get("QFEDFM_FUZZ", "1500"))
CODECS = {str(subject): subject.part for subject in subjects() if subject.entry.kind == "codec"}
LAYERS = [entry.name for entry in entries("vector layer")]


@pytest.mark.parametrize("codec", CODECS)
def test_mutated_payloads_give_our_error_or_a_valid_update(codec):
    outcomes = fuzz(bound_to(CODECS[codec]), PAYLOADS)
    assert outcomes.total() == PAYLOADS
    assert outcomes["plain accepted"] == 0
    # few of an entropy-coded body, which a change makes longer or shorter
    assert outcomes["mended accepted"] + outcomes["mended unchanged"] > 0


@pytest.mark.parametrize("layer", LAYERS)
def test_mutated_payloads_behind_a_vector_layer(layer):
    outcomes = fuzz(bound_to(Float32Codec(), build("vector layer", layer)), PAYLOADS)
    assert outcomes["plain accepted"] == 0
    assert outcomes["mended accepted"] > 0.001 * PAYLOADS


def test_a_codec_that_trusts_its_body_is_caught():
    with pytest.raises((ValueError, AssertionError)):
        fuzz(bound_to(Trusting()), 2000)


def test_the_same_seed_mutates_in_the_same_way():
    payload = bound_to(Float32Codec()).encode(np.ones(13, np.float32), ats()[0])
    one, other = (np.random.default_rng(5) for _ in range(2))
    assert [mutate(payload, one, mended=True) for _ in range(50)] == [
        mutate(payload, other, mended=True) for _ in range(50)
    ]
