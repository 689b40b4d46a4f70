"""Mutated payloads: each gives a `PayloadError` or a valid finite update.

``python -m tests.core.fuzz --payloads 1000000 --codec bfloat16 --layer clip`` prints what became of them.
"""

import argparse
import hashlib
import json
import struct
import time
import warnings
from collections import Counter

import numpy as np

from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import Float32Codec
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Codec, VectorLayer
from qfedfm.core.registry import build
from qfedfm.core.stack import Bound, bind, stack
from qfedfm.core.wire import OVERHEAD
from qfedfm.reduces.mean import Mean

LAYOUT = Layout.of({"layer.5.query.lora_A.weight": (2, 3), "layer.5.query.lora_B.weight": (3, 2), "bias": ()})
FIELDS = ((0, 4), (4, 5), (5, 6), (6, 8), (8, 12), (12, 16), (16, 20), (20, 28), (28, 36), (36, 44), (44, 52), (52, 60))
NASTY = (b"\0", b"\xff", b"\x7f", b"\x80", b"\x7f\x80", b"\x80\x7f", b"\0\0\x80\x7f", b"\0\0\xc0\x7f", b"\1\0\0\0")


def bound_to(codec: Codec, *layers: VectorLayer) -> Bound:
    return bind(stack(*layers, codec, reduce=Mean()), LAYOUT, (1, 2), cohort=2, validation=0)


def ats() -> list[At]:
    return [At(0, round_, client, Key.of(round_), LAYOUT, 10) for round_ in (1, 2) for client in (1, 2)]


def flip(payload: bytearray, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 9))):
        bit = int(rng.integers(8 * len(payload)))
        payload[bit // 8] ^= 1 << bit % 8


def overwrite_field(payload: bytearray, rng: np.random.Generator) -> None:
    start, stop = FIELDS[int(rng.integers(len(FIELDS)))]
    choice = int(rng.integers(4))
    if choice == 0:
        payload[start:stop] = rng.bytes(stop - start)
    elif choice == 1:
        payload[start:stop] = (b"\0", b"\xff")[int(rng.integers(2))] * (stop - start)
    else:
        value = int.from_bytes(payload[start:stop], "little") + int(rng.integers(-2, 3))
        payload[start:stop] = (value % 256 ** (stop - start)).to_bytes(stop - start, "little")


def overwrite_body(payload: bytearray, rng: np.random.Generator) -> None:
    if len(payload) > OVERHEAD:
        nasty = NASTY[int(rng.integers(len(NASTY)))]
        start = int(rng.integers(OVERHEAD, len(payload)))
        payload[start : start + len(nasty)] = nasty


def noise_body(payload: bytearray, rng: np.random.Generator) -> None:
    payload[OVERHEAD:] = rng.bytes(max(0, len(payload) - OVERHEAD))


def truncate(payload: bytearray, rng: np.random.Generator) -> None:
    del payload[int(rng.integers(len(payload))) :]


def extend(payload: bytearray, rng: np.random.Generator) -> None:
    payload += rng.bytes(int(rng.integers(1, 70)))


def cut_or_repeat(payload: bytearray, rng: np.random.Generator) -> None:
    start, stop = sorted(int(i) for i in rng.integers(0, len(payload) + 1, 2))
    if rng.random() < 0.5:
        del payload[start:stop]
    else:
        payload[stop:stop] = payload[start:stop]


def replace_all(payload: bytearray, rng: np.random.Generator) -> None:
    payload[:] = rng.bytes(int(rng.integers(0, 200)))


MUTATIONS = (flip, overwrite_field, overwrite_body, noise_body, truncate, extend, cut_or_repeat, replace_all)


def mend(payload: bytearray, length: bool) -> None:
    """Makes the checksum right again, and the claimed length too where asked for."""
    if len(payload) >= OVERHEAD:
        if length:
            payload[44:52] = struct.pack("<Q", len(payload) - OVERHEAD)
        payload[52:60] = hashlib.blake2b(bytes(payload[:52]) + bytes(payload[60:]), digest_size=8).digest()


def mutate(payload: bytes, rng: np.random.Generator, *, mended: bool) -> bytes:
    altered = bytearray(payload)
    for _ in range(int(rng.integers(1, 4))):
        if altered:
            MUTATIONS[int(rng.integers(len(MUTATIONS)))](altered, rng)
    if mended:
        mend(altered, length=bool(rng.random() < 0.5))
    return bytes(altered)


def fuzz(bound: Bound, payloads: int, seed: int = 0) -> Counter[str]:
    """What became of the payloads, counted by outcome; every second one has its checksum made right again.

    Raises:
        AssertionError: something was accepted that is no valid update.
        Exception: whatever decoding raised besides `PayloadError`.
    """
    rng = np.random.default_rng(seed)
    places = ats()
    values = [(rng.normal(size=LAYOUT.size) * 10.0 ** rng.integers(-30, 30)).astype(np.float32) for _ in range(8)]
    originals = [(bound.encode(x, at), at) for x in values for at in places]
    outcomes: Counter[str] = Counter()
    for number in range(payloads):
        payload, at = originals[int(rng.integers(len(originals)))]
        altered = mutate(payload, rng, mended=number % 2 == 1)
        half = "mended" if number % 2 == 1 else "plain"
        try:
            x = bound.decode(altered, at)
        except PayloadError:
            outcomes[f"{half} refused"] += 1
            continue
        if not (x.dtype == np.float32 and x.shape == (LAYOUT.size,) and np.isfinite(x).all()):
            raise AssertionError(f"seed {seed}, payload {number}: {altered.hex()} gave {x}")
        outcomes[f"{half} {'unchanged' if altered == payload else 'accepted'}"] += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payloads", type=int, default=1_000_000)
    parser.add_argument("--codec", default="float32", help="a name, or a JSON table of its name and options")
    parser.add_argument("--layer", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("error")
    table = json.loads(options.codec) if options.codec.startswith("{") else options.codec
    codec = Float32Codec() if table == "float32" else build("codec", table)
    bound = bound_to(codec, *(build("vector layer", name) for name in options.layer))
    start = time.perf_counter()
    outcomes = fuzz(bound, options.payloads, options.seed)
    seconds = time.perf_counter() - start
    print(f"{options.codec}: {options.payloads} payloads in {seconds:.0f} s:", dict(sorted(outcomes.items())))


if __name__ == "__main__":
    main()
