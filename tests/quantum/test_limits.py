"""What wrappers refuse, what they ask for, what they book, and what is paid in the end."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

import qfedfm.quantum.executors.retry as retrying
from qfedfm.core.errors import BudgetError, ConfigError, DeviceError
from qfedfm.core.key import Key
from qfedfm.core.registry import build, describe
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Demand, Executor
from qfedfm.quantum.executors.aer import Aer
from qfedfm.quantum.executors.budget import Budget, Spent
from qfedfm.quantum.executors.cache import Cache
from qfedfm.quantum.executors.ideal import Exact, Shots
from qfedfm.quantum.executors.readout import Readout
from qfedfm.quantum.executors.retry import Retry
from qfedfm.quantum.executors.twirl import Twirl
from qfedfm.quantum.executors.zne import Zne
from qfedfm.quantum.wrapper import chain
from qfedfm.reduces.cost import Cost
from tests.quantum.noisy import CIRCUIT, THETA, Failing, Misreading, Mixing

STACKS = (
    Shots(30),
    Exact(),
    Readout(Shots(30)),
    Zne(Readout(Mixing(0.01, 30)), factors=(1, 3)),
    Zne(Readout(Twirl(Retry(Mixing(0.01, 30)), instances=2)), factors=(1, 3, 5)),
    Budget(Cache(Zne(Twirl(Mixing(0.01, 30), instances=3), factors=(1, 3)))),
)


@pytest.mark.parametrize("executor", STACKS, ids=lambda one: "-".join(each.name for each in chain(one)))
def test_what_is_asked_for_is_what_runs(executor: Executor) -> None:
    outcome = executor.run(Circuit(born_circuit(2, 2)), THETA, Key.of(0))
    assert executor.demand(len(THETA)) == Demand(outcome.circuits, outcome.shots)


def test_seconds_on_a_device_add_up_through_all_wrappers() -> None:
    executor = Zne(Readout(Twirl(Mixing(0.01, 30), instances=2)), factors=(1, 3))
    # for each fold a job for each instance and one to calibrate, of half a second each
    assert executor.run(CIRCUIT, THETA, Key.of(0)).device_seconds == 2 * (2 + 1) * 0.5


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Readout(Exact()), "'readout' around 'exact', which gives no counts"),
        (lambda: Readout(Retry(Exact())), "'readout' around 'exact', which gives no counts"),
        (lambda: Readout(Cache(Zne(Shots(9)))), "'zne' around 'readout'"),
        (lambda: Readout(Readout(Shots(9))), "which has corrected the same errors"),
        (lambda: Zne(Exact()), "'zne' around 'exact', which has no noise"),
        (lambda: Zne(Readout(Zne(Shots(9)))), "'readout' around 'zne'"),
        (lambda: Zne(Twirl(Zne(Shots(9)))), "put 'twirl' inside of 'zne'"),
        (lambda: Zne(Retry(Zne(Shots(9)))), "which has extrapolated already"),
        (lambda: Twirl(Readout(Shots(9))), "put 'twirl' inside of 'readout'"),
        (lambda: Twirl(Twirl(Shots(9))), "which has twirled the same gates"),
    ],
)
def test_a_senseless_order_is_refused_with_the_reason(make, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make()


def test_a_refusal_names_the_executor_of_a_configuration() -> None:
    with pytest.raises(ConfigError, match="'zne' around 'exact'"):
        build("reduce", {"name": "born", "executor": {"name": "zne", "inner": "exact"}})
    with pytest.raises(ConfigError, match="inner"):
        build("executor", {"name": "readout"})


def test_the_deepest_stack_is_described_and_built_again() -> None:
    executor = Cache(Retry(Zne(Readout(Twirl(Budget(Aer(shots=9), price=2.0, backend="ibm:x"))), factors=(1, 3))))
    assert build("executor", describe(executor)) == executor


def test_a_budget_around_mitigation_refuses_before_anything_runs() -> None:
    inner = Failing(())  # of 50 shots, which it does not tell
    budget = Budget(Zne(inner, factors=(1, 3)), circuits=5)
    with pytest.raises(BudgetError, match="5 circuits, of which 0 are spent and 6 asked for"):
        budget.run(CIRCUIT, THETA, Key.of(0))
    assert inner.calls == []
    by_shots = Budget(Readout(Misreading(31)), shots=5 * 31 + 4)
    assert by_shots.run(CIRCUIT, THETA, Key.of(0)).shots == by_shots.spent.shots == 5 * 31
    with pytest.raises(BudgetError, match="159 shots, of which 155 are spent and 155 asked for"):
        by_shots.run(CIRCUIT, THETA, Key.of(1))


def test_a_failed_run_stays_booked_and_a_refused_one_does_not() -> None:
    budget = Budget(Failing((DeviceError("cancelled"), ConfigError("no such device"))), circuits=1000)
    with pytest.raises(DeviceError):
        budget.run(CIRCUIT, THETA, Key.of(0))
    assert budget.spent == Spent(3, 0, 0.0)
    with pytest.raises(ConfigError):
        budget.run(CIRCUIT, THETA, Key.of(0))
    assert budget.spent == Spent(3, 0, 0.0)
    budget.run(CIRCUIT, THETA, Key.of(0))
    assert budget.spent == Spent(6, 150, 0.0)


def test_seconds_stop_the_run_after_the_one_that_passed_them() -> None:
    budget = Budget(Mixing(0.01, 37), device_seconds=0.4)
    budget.run(CIRCUIT, THETA, Key.of(0))
    with pytest.raises(BudgetError, match=r"0\.4 device seconds, of which 0\.5 are spent"):
        budget.run(CIRCUIT, THETA, Key.of(0))


def test_dollars_are_those_of_the_list_of_prices() -> None:
    garnet = "braket:arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
    budget = Budget(Shots(1000), price=10.0, backend=garnet)
    budget.run(CIRCUIT, THETA, Key.of(0))
    assert budget.spent.price == pytest.approx(3 * (0.30 + 1000 * 0.00145))
    with pytest.raises(BudgetError, match=r"10\.0 dollars, of which 5\.25 are spent and 5\.25 asked for"):
        budget.run(CIRCUIT, THETA, Key.of(1))
    for wrong in ({"price": 1.0}, {"backend": garnet}):
        with pytest.raises(ConfigError, match="one of price and backend; expected both"):
            Budget(Shots(1000), **wrong)
    with pytest.raises(ConfigError, match="no price of 'nowhere'"):
        Budget(Shots(1000), price=1.0, backend="nowhere")


def test_threads_never_pass_a_budget_together() -> None:
    budget, refused = Budget(Shots(7), circuits=31), []

    def spend(seed: int) -> None:
        try:
            budget.run(CIRCUIT, THETA, Key.of(seed))
        except BudgetError as error:
            refused.append(error)

    threads = [threading.Thread(target=spend, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (budget.spent.circuits, len(refused)) == (30, 6)


@dataclass(frozen=True)
class Calibrating(Executor):
    """Counts how often it is asked."""

    name = "calibrating"
    asked: list[str] = field(default_factory=list, hash=False, compare=False)

    def run(self, circuit, parameters, key):
        self.asked.append("run")
        return Misreading(500).run(circuit, parameters, key)

    def calibration(self, circuit, key):
        self.asked.append("calibration")
        return super().calibration(circuit, key)


def test_what_a_cache_keeps_is_calibrated_once_and_cannot_be_changed() -> None:
    circuit, inner = Circuit(born_circuit(2, 2)), Calibrating()
    plain = Readout(Calibrating()).run(circuit, THETA, Key.of(0))
    executor = Readout(Cache(inner))
    first, again = (executor.run(circuit, THETA, Key.of(0)) for _ in range(2))
    assert (first.circuits, again.circuits) == (5, 0)
    assert inner.asked == ["run", "calibration", "run"]  # a calibration is a run
    for outcome in (first, again):
        np.testing.assert_array_equal(outcome.probabilities, plain.probabilities)
    kept = Cache(Shots(8)).run(circuit, THETA, Key.of(0))
    with pytest.raises(ValueError, match="read-only"):
        kept.probabilities[0, 0] = 1
    np.testing.assert_array_equal(kept.probabilities, Shots(8).run(circuit, THETA, Key.of(0)).probabilities)


def test_a_missing_file_is_not_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", waits.append)
    inner = Failing((FileNotFoundError("no credentials"),))
    with pytest.raises(FileNotFoundError):
        Retry(inner).run(CIRCUIT, THETA, Key.of(0))
    assert len(inner.calls) == 1
    again = Failing((TimeoutError(),))
    assert Retry(again).calibration(CIRCUIT, Key.of(0)).circuits == 2
    one = Failing((BudgetError("spent"),))
    with pytest.raises(BudgetError):
        Retry(one).run(CIRCUIT, THETA, Key.of(0))
    assert waits == [1.0]


def test_a_round_reports_what_mitigation_cost_and_its_bias() -> None:
    outcome = Readout(Misreading(200)).run(CIRCUIT, np.zeros((2, 6)), Key.of(0))
    total = Cost.of(outcome) + Cost.of(Shots(10).run(CIRCUIT, THETA, Key.of(0)))
    found = total.diagnostics()
    assert found["projection_bias"] == outcome.bias > 0
    assert (found["circuits_mitigated"], found["circuits_shots"], found["shots"]) == (4, 3, 4 * 200 + 30)
    assert "projection_bias" not in Cost.of(Shots(10).run(CIRCUIT, THETA, Key.of(0))).diagnostics()
