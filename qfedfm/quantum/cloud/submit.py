"""Submitting a circuit: shown first, tried first, written down first, and sent once."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qfedfm.core.errors import BudgetError, ConfigError, DeviceError, LedgerError
from qfedfm.quantum.cloud.follow import wait
from qfedfm.quantum.cloud.ledger import ENDED, NEVER, OPEN, Entry, Ledger
from qfedfm.quantum.cloud.prices import Price
from qfedfm.quantum.cloud.provider import Native, Provider, UnsettledError, quiet
from qfedfm.quantum.piece import qasm

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

CANARY_SHOTS = 100
CANARY_LASTS = 24 * 3600.0
"""Seconds for which a device that answered rightly is trusted."""
_MOSTLY = 0.5


@dataclass(frozen=True)
class Request:
    """What is to run.

    Args:
        circuit: without free parameters and without measurements.
        backend: such as ``fake:manila``.
        shots: of the circuit.
        about: what it is: its name, and of a run its folder, method and seed.
    """

    circuit: QuantumCircuit
    backend: str
    shots: int
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The same for two requests for the same."""
        text = f"{self.backend}\n{self.shots}\n{qasm(self.circuit)}"
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What a submission would do.

    Args:
        native: the circuit on the device.
        price: the list's line for the device, or None.
        canary: whether an X gate on each qubit is tried before.
        dollars: estimated, of both jobs; None without a price.
        seconds: on the device, estimated.
    """

    native: Native
    price: Price | None
    canary: bool
    dollars: float | None
    seconds: float


def check(request: Request) -> None:
    """Refuses what cannot be submitted.

    Raises:
        ConfigError: free parameters, or no shots.
    """
    free = [parameter.name for parameter in request.circuit.parameters]
    if free:
        given = f"a circuit with free parameters {', '.join(free[:3])}{' …' if len(free) > 3 else ''}"
        raise ConfigError(given, "numbers for all of them", "--bind theta=0.1,0.2,… or the folder of a finished run")
    if request.shots < 1:
        raise ConfigError(f"--shots {request.shots}", "at least 1")


def plan(request: Request, device: Provider, price: Price | None, ledger: Ledger) -> Plan:
    """What it takes and costs.

    Raises:
        ConfigError: free parameters, too many qubits, an unknown device, no credentials.
    """
    check(request)
    native = device.prepare(request.circuit)
    canary = not _trusted(ledger, request, native.qubits)
    jobs = [request.shots, *([CANARY_SHOTS] if canary else [])]
    dollars = None if price is None else sum(map(price.of, jobs))
    return Plan(native, price, canary, dollars, 0.0 if price is None else sum(map(price.seconds, jobs)))


def within(planned: Plan, budget: float | None) -> None:
    """Refuses what costs more than the user gave.

    Raises:
        BudgetError: it does, or no price is known.
    """
    if budget is None:
        return
    if planned.dollars is None:
        raise BudgetError("a --budget on a device without a known price", "", "name its price in a file of --prices")
    if planned.dollars > budget:
        raise BudgetError(f"${planned.dollars:.2f} for this submission", f"at most ${budget:.2f}", "take fewer shots")


def submit(
    request: Request,
    planned: Plan,
    device: Provider,
    ledger: Ledger,
    say: Callable[[str], None] = quiet,
    sleep: Callable[[float], None] = time.sleep,
) -> Entry:
    """Sends a request once, whatever happens on the way; gives its entry in the ledger.

    Every job is an intent in the ledger, with a uuid, before it is sent, and carries the uuid to the provider. An
    intent that an earlier call left behind is settled first: the provider says whether a job carries its uuid. A job of
    the same request that was sent but never told to the user is this request's job, and nothing is sent again.

    Raises:
        LedgerError: another submission is under way, or an intent cannot be settled now.
        DeviceError: the provider refuses, or the canary fails.
    """
    with ledger.alone():
        settle_intents(ledger, request.backend, device)
        found = _untold(ledger, request)
        if found is None:
            if planned.canary:
                _canary(request, planned, device, ledger, say, sleep)
            found = _send(request, "job", planned.native, request.shots, planned.price, device, ledger)
        else:
            say(f"This was sent before, in a submission that was interrupted: {found.uuid[:8]}")
        say(f"Job {found.uuid[:8]} is on {found.backend} as {found.job}")
        ledger.tell(found.uuid)  # after it was said: who was not told may ask again and gets the same job
        return ledger.get(found.uuid)


def settle_intents(ledger: Ledger, backend: str, device: Provider) -> None:
    """Finds out of each intent for a device whether it was sent.

    Raises:
        LedgerError: the provider cannot tell now.
    """
    for entry in ledger.all():
        if entry.state == OPEN and entry.backend == backend:
            try:
                job = device.find(entry.uuid)
            except (UnsettledError, OSError) as error:
                given = f"job {entry.uuid[:8]} may or may not have been sent to {backend} ({error})"
                remedy = (
                    "try again when it answers, or settle it by hand: qfedfm jobs settle ID --sent JOB | --not-sent"
                )
                raise LedgerError(given, "", remedy) from None
            if job is None:
                ledger.settle(entry.uuid, NEVER, message="interrupted before it was sent")
            else:
                ledger.sent(entry.uuid, job)


def _untold(ledger: Ledger, request: Request) -> Entry | None:
    """A job for the same request that was sent, and of which the user does not know."""
    gone = (NEVER, "failed", "cancelled")
    mine = [entry for entry in ledger.all() if entry.kind == "job" and entry.request == request.digest]
    return next((entry for entry in mine if not entry.told and entry.state not in gone), None)


def _send(
    request: Request, kind: str, native: Native, shots: int, price: Price | None, device: Provider, ledger: Ledger
) -> Entry:
    entry = Entry(
        uuid=str(uuid.uuid4()),
        backend=request.backend,
        kind=kind,
        request=request.digest if kind == "job" else f"canary-{native.qubits}",
        shots=shots,
        about=request.about if kind == "job" else {"name": f"an X gate on each of {native.qubits} qubits"},
        qasm=qasm(request.circuit if kind == "job" else flipped(native.qubits)),
        price=None if price is None else price.of(shots),
    )
    ledger.intend(entry)
    try:
        job = device.send(native, shots, entry.uuid)
    except DeviceError as error:
        _refused(entry, device, ledger, str(error))
        raise
    ledger.sent(entry.uuid, job)
    return ledger.get(entry.uuid)


def _refused(entry: Entry, device: Provider, ledger: Ledger, why: str) -> None:
    """After a provider's error: without doubt it has no such job, and the entry has failed; or it is to be settled."""
    try:
        job = device.find(entry.uuid)
    except (UnsettledError, OSError):
        return
    if job is None:
        ledger.settle(entry.uuid, "failed", message=why)
    else:
        ledger.sent(entry.uuid, job)


def flipped(qubits: int) -> QuantumCircuit:
    """An X gate on each qubit: the canary."""
    from qiskit import QuantumCircuit

    circuit = QuantumCircuit(qubits, name="canary")
    circuit.x(range(qubits))
    return circuit


def _canary(
    request: Request,
    planned: Plan,
    device: Provider,
    ledger: Ledger,
    say: Callable[[str], None],
    sleep: Callable[[float], None],
) -> None:
    """Runs the canary, or goes on waiting for the one that an interrupted submission sent."""
    qubits = planned.native.qubits
    waiting = [e for e in _canaries(ledger, request, qubits) if e.state not in ENDED]
    if waiting:
        entry = waiting[-1]
    else:
        native = device.prepare(flipped(qubits))
        entry = _send(request, "canary", native, CANARY_SHOTS, planned.price, device, ledger)
    say(f"Canary {entry.uuid[:8]}: an X gate on each of {qubits} qubits, {CANARY_SHOTS} shots")
    entry = wait(entry, device, ledger, sleep=sleep)
    if entry.state != "done":
        raise DeviceError(
            f"the canary on {request.backend} is {entry.state} {entry.message}".strip(), "a device at work"
        )
    refuse_dead_qubits(entry.counts or {}, qubits, request.backend)


def refuse_dead_qubits(counts: Mapping[str, int], qubits: int, backend: str) -> None:
    """A qubit on which X gives mostly zeros cannot be used, and a service that counts nothing cannot either.

    Raises:
        DeviceError: so it is.
    """
    total = sum(counts.values())
    if not total:
        raise DeviceError(f"{backend} counted nothing in the canary", "ones", "the service may not read measurements")
    ones = [sum(n for bits, n in counts.items() if bits[::-1][qubit] == "1") / total for qubit in range(qubits)]
    dead = [qubit for qubit, share in enumerate(ones) if share <= _MOSTLY]
    if dead:
        shares = ", ".join(f"qubit {qubit}: {100 * ones[qubit]:.0f} %" for qubit in dead)
        raise DeviceError(
            f"after an X gate {backend} reads too few ones ({shares})", "mostly ones", "try another device"
        )


def _canaries(ledger: Ledger, request: Request, qubits: int) -> list[Entry]:
    """The canaries of a device for as many qubits that are not too old."""
    since, named = time.time() - CANARY_LASTS, f"canary-{qubits}"
    return [e for e in ledger.all() if (e.backend, e.request) == (request.backend, named) and e.created > since]


def _trusted(ledger: Ledger, request: Request, qubits: int) -> bool:
    for entry in _canaries(ledger, request, qubits):
        if entry.state == "done":
            try:
                refuse_dead_qubits(entry.counts or {}, qubits, request.backend)
            except DeviceError:
                continue
            return True
    return False
