"""Tables of what became of a quantum link."""

from __future__ import annotations

from rich.table import Table

from qfedfm.qkd.proof import Length
from qfedfm.qkd.session import Account
from qfedfm.qkd.sweep import Point


def one(point: Point) -> Table:
    """The whole chain, step by step, beside what was expected."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column("expected", justify="right")
    table.add_column("seen" if point.account else "", justify="right")
    for name, expected, seen in _steps(point):
        table.add_row(name, expected, seen)
    return table


def several(points: list[Point]) -> Table:
    """A line for each distance: what was simulated, if anything, and what was to be expected."""
    run = ("sifted", "QBER", "leaked", "tags", "key", "rate") if points[0].account else ()
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("km", *run, "promised", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for point in points:
        promise = [_rate(point.chain.promised_rate), _rate(point.chain.plan.asymptotic)]
        account, planned = point.account, point.chain.promised.reason
        seen = [] if account is None else _seen(point, account)
        why = planned if account is None else account.reason
        loss = account is not None and account.net <= 0
        reason = why.value if why else "net loss" if loss else ""
        table.add_row(f"{point.chain.link.distance:g}", *seen, *promise, reason)
    return table


def verdict(points: list[Point]) -> str:
    """In sentences: by which proof, from which randomness, how much key, or why none."""
    proof = f"Proof: {points[0].chain.plan.proof.name}."
    accounts = [point.account for point in points if point.account is not None]
    if not accounts:
        lengths = [point.chain.promised for point in points]
        return f"{proof}\nNothing was simulated.{'' if len(lengths) > 1 else f' {_promise(lengths[0])}'}"
    lines = [proof, f"Randomness: {accounts[0].randomness}."]
    return "\n".join(lines + ([_conclusion(accounts[0])] if len(accounts) == 1 else []))


def _conclusion(account: Account) -> str:
    if account.reason is not None:
        return f"No key: {account.reason.value} ({account.detail})."
    if account.net > 0:
        return f"A key of {account.bits:,} bits, of which {account.authentication:,} replace those that tags used up."
    return f"A key of {account.bits:,} bits, fewer than the {account.authentication:,} that tags used up: net loss."


def _promise(length: Length) -> str:
    return f"No key is promised: {length.detail}." if length.reason else f"Promised: {length.bits:,} bits."


def _steps(point: Point) -> list[tuple[str, str, str]]:
    plan, run, test = point.chain.plan, point.account, None if point.account is None else point.account.seen
    lost = "games lost" if point.chain.protocol == "e91" else "QBER of the test"
    return [
        ("pulses", _count(point.chain.pulses), "" if run is None else _count(run.pulses)),
        ("clicks that Bob announced", "", "" if run is None else _count(run.clicks)),
        ("sifted, may become key", "", "" if run is None else _count(run.sifted)),
        ("used for the key", _count(plan.expected.key), "" if test is None else _count(test.key)),
        ("tested", _count(plan.expected.test), "" if test is None else _count(test.test)),
        ("errors in the test", _count(plan.expected.errors), "" if test is None else _count(test.errors)),
        (lost, _percent(plan.qber), "" if run is None else _percent(run.qber)),
        ("leaked by reconciliation", f"≤ {_count(plan.leak)}", "" if run is None else _count(run.leaked)),
        ("leaked by verification", "", "" if run is None else _count(run.tag)),
        ("authentication", "", "" if run is None else _count(run.authentication)),
        ("key", _count(point.chain.promised.bits), "" if run is None else _count(run.bits)),
        ("ε", "", "" if run is None or run.epsilon is None else f"{run.epsilon.total:.3g}"),
        ("secret bits a pulse", _rate(point.chain.promised_rate), "" if run is None else _rate(point.rate)),
        ("  without end of pulses", _rate(plan.asymptotic), ""),
    ]


def _seen(point: Point, account: Account) -> list[str]:
    costs = (account.leaked, account.authentication, account.bits)
    rate = _rate(point.rate) if account.bits else "0"
    return [str(account.sifted), _percent(account.qber), *map(str, costs), rate]


def _count(number: int) -> str:
    return f"{number:,}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"


def _rate(rate: float) -> str:
    return "0" if rate == 0 else f"{rate:.3g}"
