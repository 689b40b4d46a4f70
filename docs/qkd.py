"""Writes the tables of docs/qkd.md and draws its figures: `python docs/qkd.py`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from qfedfm.core.key import Key
from qfedfm.qkd.attack import attack
from qfedfm.qkd.chain import chain
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.link import Link, named
from qfedfm.qkd.sweep import Setting

PAGE = Path(__file__).with_name("qkd.md")
FIGURES = Path(__file__).with_name("figures")
LINK = replace(named("metro"), efficiency=0.9)
"""The metropolitan link with detectors of superconducting wires in place of InGaAs ones."""
PULSES, SEED = 10_000_000, 1
DISTANCES = np.linspace(0, 160, 33)
DOTS = {"bb84": (0, 25, 50, 75, 100), "decoy-bb84": (0, 25, 50), "bbm92": (0, 15, 30)}
CURVES = (7, 8, 9, 11)
CHAINS = {"bb84": 25.0, "decoy-bb84": 25.0, "bbm92": 10.0, "e91": 0.0, "b92": 10.0, "weak-bb84": 25.0}
ATTACKS = (
    ("bb84", "intercept-resend"),
    ("bb84", "intercept-resend:0.1"),
    ("bb84", "entangling-probe"),
    ("bb84", "man-in-the-middle"),
    ("weak-bb84", "photon-number-splitting"),
    ("decoy-bb84", "photon-number-splitting"),
    ("bbm92", "intercept-resend"),
    ("e91", "intercept-resend"),
    ("b92", "intercept-resend"),
    ("b92", "unambiguous-discrimination"),
)


def rates() -> None:
    """Secret rate over distance: limits, promises for several numbers of pulses, and simulated runs."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(DOTS), figsize=(10, 3.3), sharey=True, layout="constrained")
    for axes, (protocol, dots) in zip(panels, DOTS.items(), strict=True):
        limits = [chain(protocol, PULSES, _at(km)).plan.asymptotic for km in DISTANCES]
        axes.plot(DISTANCES, _positive(limits), color="0.6", label="without end of pulses")
        for power in CURVES:
            promised = [chain(protocol, 10**power, _at(km)).promised_rate for km in DISTANCES]
            axes.plot(DISTANCES, _positive(promised), label=f"promised for 10^{power} pulses")
        runs = [_run(Setting(protocol, LINK, PULSES), float(km)) for km in dots]
        axes.plot(dots, _positive(runs), "o", color="k", label="simulated, 10^7, tags paid")
        axes.set(title=protocol, xlabel="km", yscale="log", ylim=(1e-7, 1))
    panels[0].set_ylabel("secret bits a pulse")
    panels[0].legend(fontsize=6)
    figure.savefig(FIGURES / "qkd-rates.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def heard() -> None:
    """What an eavesdropper on a share of the pulses does to the key of variable length and to the error rate."""
    import matplotlib.pyplot as plt

    shares = np.linspace(0, 0.4, 9)
    link = replace(LINK, distance=10.0)
    made = chain("bb84", 1_000_000, link, "cascade", variable=True)
    figure, (keys, errors) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    rows = []
    for share in shares:
        who = attack(f"intercept-resend:{share}", "bb84")
        account = made.run(who, Seeded(Key.of(SEED))).account
        truth = made.plan.phase.exchange(1_000_000, link, who.eavesdropper, Seeded(Key.of(SEED))).truth
        sifted = account.seen.key if account.seen else 1
        rows.append((account.bits / sifted, truth["eve_information"], account.qber or 0.0))
    key, eve, qber = map(np.array, zip(*rows, strict=True))
    keys.plot(shares, key, "o-", label="key, bits a sifted bit")
    keys.plot(shares, eve, "s--", color="C3", label="what she learned, bits a sifted bit")
    keys.set(xlabel="share of pulses intercepted", title="BB84, variable length")
    keys.legend(fontsize=7)
    errors.plot(shares, 100 * qber, "o", label="in the test")
    own = made.plan.qber
    errors.plot(shares, 100 * (own + shares / 4 * (1 - 2 * own)), color="0.6", label="own, and a fourth of the share")
    errors.axhline(11.0, color="C3", linestyle=":", label="11.0 %: no key, however many pulses")
    errors.set(xlabel="share of pulses intercepted", ylabel="QBER, %", title="how she is noticed")
    errors.legend(fontsize=7)
    figure.savefig(FIGURES / "qkd-heard.png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def chains() -> str:
    """The table of undisturbed runs."""
    head = "protocol | km | clicks | used for the key | QBER | leaked | tags | key | bits a pulse"
    lines = [f"| {head} |", "|---" * 9 + "|"]
    for protocol, km in CHAINS.items():
        made = chain(protocol, PULSES, _at(km))
        account = made.run(attack("none", protocol), Seeded(Key.of(SEED))).account
        qber = f"{100 * account.qber:.2f} %" if account.qber is not None else "–"
        qber += " of games lost" if protocol == "e91" else ""
        key = f"{account.bits:,}" if account.bits else f"none: {account.reason.value}" if account.reason else "none"
        used = f"{account.seen.key:,}" if account.seen else "–"
        numbers = f"{account.leaked:,} | {account.authentication:,} | {key} | {account.net / PULSES:.2g}"
        lines.append(f"| {protocol} | {km:g} | {account.clicks:,} | {used} | {qber} | {numbers.replace('-', '−')} |")
    return "\n".join(lines)


def noticed() -> str:
    """The table of attacks."""
    lines = ["| protocol | eavesdropper | QBER | what came of it | she guesses right |", "|---" * 5 + "|"]
    for protocol, name in ATTACKS:
        link, pulses = _at(50.0), PULSES // 2
        made, who = chain(protocol, pulses, link), attack(name, protocol)
        account = made.run(who, Seeded(Key.of(SEED))).account
        truth = made.plan.phase.exchange(pulses, link, who.eavesdropper, Seeded(Key.of(SEED))).truth
        guessed = "–" if who.between else f"{100 * truth['eve_correct']:.0f} %"
        qber = "–" if account.qber is None else f"{100 * account.qber:.1f} %"
        qber += " of games lost" if protocol == "e91" else ""
        came = account.reason.value if account.reason else f"{account.bits:,} bits"
        lines.append(f"| {protocol} | `{name}` | {qber} | {came} | {guessed} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name, made in (("chains", chains()), ("noticed", noticed())):
        text = re.sub(rf"(<!-- {name} -->)\n.*?<!-- end -->", rf"\1\n{made}\n<!-- end -->", text, flags=re.DOTALL)
    return text


def _at(km: float) -> Link:
    return replace(LINK, distance=float(km))


def _run(setting: Setting, km: float) -> float:
    account = setting.at(km).run(attack("none", setting.protocol), Seeded(Key.of(SEED))).account
    return account.net / account.pulses


def _positive(values: list[float]) -> np.ndarray:
    array = np.array(values)
    return np.where(array > 0, array, np.nan)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    rates()
    heard()
