"""Attacks by name, for whoever wants to see whether they are noticed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.qkd.channel import Message
from qfedfm.qkd.eavesdroppers import (
    Eavesdropper,
    EntanglingProbe,
    InterceptResend,
    Nobody,
    PhotonNumberSplitting,
    UnambiguousDiscrimination,
)

FITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "none": ("bb84", "weak-bb84", "decoy-bb84", "b92", "bbm92", "e91"),
        "intercept-resend": ("bb84", "weak-bb84", "decoy-bb84", "b92", "bbm92", "e91"),
        "photon-number-splitting": ("weak-bb84", "decoy-bb84"),
        "entangling-probe": ("bb84", "weak-bb84", "decoy-bb84", "bbm92"),
        "unambiguous-discrimination": ("b92",),
        "man-in-the-middle": ("bb84", "weak-bb84", "decoy-bb84", "b92", "bbm92", "e91"),
    }
)
"""The protocols that an attack means something for."""

_NUMBERS: Mapping[str, float] = MappingProxyType({"intercept-resend": 1.0, "entangling-probe": 0.1})
"""What an attack's number is where none is given."""


@dataclass(frozen=True)
class Attack:
    """Who sits where.

    Args:
        eavesdropper: on the quantum channel.
        between: on the classical one; None for nobody.
    """

    eavesdropper: Eavesdropper = field(default=Nobody())
    between: Callable[[Message], bytes] | None = None


def attack(text: str, protocol: str) -> Attack:
    """The attack ``NAME`` or ``NAME:NUMBER`` on a protocol.

    The number of ``intercept-resend`` is the share of pulses (1), that of ``entangling-probe`` the error rate D that
    the probe causes (.1). ``man-in-the-middle`` leaves the photons alone and flips a bit of every classical message.

    Args:
        text: see `FITS` for the names.
        protocol: it is meant for.

    Raises:
        ConfigError: an unknown name, a number that the attack does not take or that is out of range, or an attack that
            means nothing for the protocol.

    Example:
        >>> attack("intercept-resend:0.25", "bb84").eavesdropper
        InterceptResend(share=0.25, basis='random')
    """
    name, colon, given = text.partition(":")
    if name not in FITS:
        raise ConfigError(f"eavesdropper {name!r}", "a known one", nearest(name, FITS))
    if protocol not in FITS[name]:
        raise ConfigError(f"{name} on {protocol}", f"one of {', '.join(FITS[name])}", "choose another protocol")
    if colon and name not in _NUMBERS:
        raise ConfigError(f"eavesdropper {text!r}", f"{name} without a number")
    number = _number(text, given) if colon else _NUMBERS.get(name, 0.0)
    if name == "man-in-the-middle":
        return Attack(between=flip)
    return Attack(_eavesdropper(name, number))


def flip(message: Message) -> bytes:
    """The body with its last bit flipped, or a byte in place of an empty one."""
    return message.body[:-1] + bytes([message.body[-1] ^ 1]) if message.body else b"\x00"


def _eavesdropper(name: str, number: float) -> Eavesdropper:
    if name == "intercept-resend":
        return InterceptResend(number)
    if name == "entangling-probe":
        if not 0 <= number <= 0.5:
            raise ConfigError(f"a probe that causes an error rate of {number}", "0 to 0.5")
        return EntanglingProbe(math.acos(1 - 2 * number))
    if name == "photon-number-splitting":
        return PhotonNumberSplitting()
    return UnambiguousDiscrimination() if name == "unambiguous-discrimination" else Nobody()


def _number(text: str, given: str) -> float:
    try:
        return float(given)
    except ValueError:
        raise ConfigError(f"eavesdropper {text!r}", "NAME or NAME:NUMBER, such as intercept-resend:0.5") from None
