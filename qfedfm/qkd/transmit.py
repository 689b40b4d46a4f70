"""The quantum phase of a protocol in which Alice prepares and Bob measures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.special import entr

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.eavesdroppers import Eavesdropper
from qfedfm.qkd.entropy import Entropy
from qfedfm.qkd.exchange import Exchange, Half
from qfedfm.qkd.link import Link
from qfedfm.qkd.pulses import Arriving, Pulses, Source, choices
from qfedfm.qkd.receiver import Clicks, detect

CHUNK = 2**20
"""Pulses at a time: beyond the parties' records, memory does not grow with the number of pulses."""

Sift = Callable[
    [UInt8[np.ndarray, " m"], UInt8[np.ndarray, " m"], UInt8[np.ndarray, " m"]],
    tuple[Bool[np.ndarray, " m"], UInt8[np.ndarray, " m"]],
]
"""From Alice's bases, Bob's bits and Bob's bases: which clicks are kept, and the bit that Bob reads from each click."""


def transmit(
    pulses: int,
    source: Source,
    bases: tuple[float, float],
    sift: Sift,
    link: Link,
    eavesdropper: Eavesdropper,
    entropy: Entropy,
) -> Exchange:
    """Sends pulses over a link past an eavesdropper.

    The truth is taken over the clicks that `sift` keeps, all intensities together: ``sifted`` (their number) and, where
    there are any, ``qber``, ``eve_correct`` (share of Alice's bits that the eavesdropper guesses right) and
    ``eve_information`` (bits a bit, the mean of 1 − h(chance) over what she knows of each). Besides, ``yield_0`` and
    ``yield_1``, clicks per pulse that left Alice with no and one photon, and ``error_1``, the QBER of the latter.

    Args:
        pulses: at least 1.
        source: Alice's.
        bases: probabilities of Bob's.
        sift: what the parties keep.
        link: between them.
        eavesdropper: on it.
        entropy: of bits, bases and intensities, and of the seed of the physics.

    Raises:
        ConfigError: there are no pulses, or the attack does not fit the source.
    """
    if pulses < 1:
        raise ConfigError(f"an exchange of {pulses} pulses", "at least 1")
    noise, dead = entropy.generator(), 0
    sent: list[tuple[np.ndarray, ...]] = []
    received: list[tuple[np.ndarray, ...]] = []
    tally: defaultdict[str, float] = defaultdict(float)
    for start in range(0, pulses, CHUNK):
        leaving = source.prepare(min(CHUNK, pulses - start), entropy, noise)
        arriving = eavesdropper.tap(leaving, link, noise)
        clicks = detect(arriving, choices(entropy, len(leaving), bases), link, entropy, noise, dead)
        dead = clicks.dead
        for name, number in _count(leaving, arriving, clicks, sift).items():
            tally[name] += number
        sent.append((leaving.bit, leaving.basis, leaving.intensity)[: 3 if len(source.means) > 1 else 2])
        received.append((clicks.pulse + start, clicks.bit, clicks.basis))
    alice = Half(np.arange(pulses), *(np.concatenate(part) for part in zip(*sent, strict=True)))
    bob = Half(*(np.concatenate(part) for part in zip(*received, strict=True)))
    return Exchange(pulses, alice, bob, _truth(tally))


def _count(leaving: Pulses, arriving: Arriving, clicks: Clicks, sift: Sift) -> dict[str, int | float]:
    kept, bit = sift(leaving.basis[clicks.pulse], clicks.bit, clicks.basis)
    at = clicks.pulse[kept]
    truly, chance = leaving.bit[at], arriving.chance[at].astype(float)
    wrong, single = bit[kept] != truly, leaving.photons[at] == 1
    clicked = leaving.photons[clicks.pulse]
    return {
        "sifted": len(at),
        "wrong": int(wrong.sum()),
        "guessed": int((arriving.guess[at] == truly).sum()),
        "information": float((1 - (entr(chance) + entr(1 - chance)) / np.log(2)).sum()),
        "sifted 1": int(single.sum()),
        "wrong 1": int((wrong & single).sum()),
        "sent 0": int(np.count_nonzero(leaving.photons == 0)),
        "sent 1": int(np.count_nonzero(leaving.photons == 1)),
        "clicks 0": int(np.count_nonzero(clicked == 0)),
        "clicks 1": int(np.count_nonzero(clicked == 1)),
    }


def _truth(tally: Mapping[str, float]) -> dict[str, float]:
    shares = {
        "qber": ("wrong", "sifted"),
        "eve_correct": ("guessed", "sifted"),
        "eve_information": ("information", "sifted"),
        "yield_0": ("clicks 0", "sent 0"),
        "yield_1": ("clicks 1", "sent 1"),
        "error_1": ("wrong 1", "sifted 1"),
    }
    truth = {name: tally[part] / tally[whole] for name, (part, whole) in shares.items() if tally[whole]}
    return {"sifted": tally["sifted"]} | truth
