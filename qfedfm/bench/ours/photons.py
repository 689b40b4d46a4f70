"""Privacy amplification of a block, and the simulation of pulses with loss, noise and an eavesdropper."""

from __future__ import annotations

import time
from collections.abc import Mapping

from qfedfm.bench.child import answer, options
from qfedfm.core.errors import ConfigError
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.bbm92 import BBM92
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.decoy import DecoyBB84
from qfedfm.qkd.eavesdroppers import Eavesdropper, InterceptResend, PhotonNumberSplitting
from qfedfm.qkd.entropy import System
from qfedfm.qkd.link import Link
from qfedfm.qkd.toeplitz import amplify

LINK = Link(distance=20.0, efficiency=0.5, dark_counts=1e-6, misalignment=0.01, dead_time=20)
PROTOCOLS: Mapping[str, tuple[BB84 | DecoyBB84 | BBM92, Eavesdropper]] = {
    "BB84, intercept-resend": (BB84(), InterceptResend(0.1)),
    "weak pulses, intercept-resend": (BB84(mean_photons=0.5), InterceptResend(0.1)),
    "decoy BB84, photon-number splitting": (DecoyBB84(), PhotonNumberSplitting()),
    "BBM92, intercept-resend": (BBM92(), InterceptResend(0.1)),
}
"""By name: what is simulated, and who listens."""


def main() -> None:
    """``{"block": 1048576, "lengths": [262144], "pulses": 10000000}``."""
    given = options()
    block, pulses = given["block"], given["pulses"]
    amplification_seconds(block, block // 2)
    amplified = {length: 1e-6 * block / amplification_seconds(block, length) for length in given["lengths"]}
    answer(amplified=amplified, simulated={name: simulation_seconds(name, pulses) for name in PROTOCOLS})


def amplification_seconds(block: int, length: int) -> float:
    """Processor time of one party: drawing the seed, packing it for the channel, hashing; half of what both take.

    Raises:
        ConfigError: the parties' keys differ.
    """
    bits, begin = System().bits(block), time.process_time()
    alice, bob = amplify(bits, bits, length, Channel(), System())
    seconds = time.process_time() - begin
    if (alice != bob).any():
        raise ConfigError("two keys of one string", "the same")
    return seconds / 2


def simulation_seconds(name: str, pulses: int) -> float:
    """Processor time of a quantum phase, of both halves and the eavesdropper's record."""
    protocol, eavesdropper = PROTOCOLS[name]
    begin = time.process_time()
    protocol.exchange(pulses, LINK, eavesdropper, System())
    return time.process_time() - begin


if __name__ == "__main__":
    main()
