"""From runs to one line a method, paired comparisons, and sentences that say what the comparison found.

All functions are pure and read the plain dictionaries of ``results.json``, so that a finished folder can be summarised
again without the engine that wrote it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qfedfm.report.statistics import MARGIN, Estimate, equivalent, estimate, paired

Run = Mapping[str, Any]
QUESTION = "Does the quantum module earn its place?"
VERDICTS = ("yes", "no", "not shown")
_METRICS = ("accuracy", "loss", "macro_f1", "worst_client", "spread")


def summarise(
    runs: Sequence[Run],
    twins: Mapping[str, Sequence[str]],
    controls: Mapping[str, str] | None = None,
    tuning: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The ``summary`` of ``results.json``: a line for each method, in the order of its first run.

    Differences are of the final accuracy, as fractions, paired by seed, the method minus the other.

    Args:
        runs: as in ``results.json``; a run without a finite final accuracy is left out of that metric.
        twins: for each quantum method the methods of this comparison that have the same role without a circuit.
        controls: for each control (an ablation of a quantum method) the method that it is a control of.
        tuning: as in ``results.json``; decides which twin is the strongest when it has a score for every twin.

    Returns:
        Besides the fields of the schema, a quantum method that is no control has ``vs_controls``,
        ``vs_best_classical`` and ``verdict`` (one of `VERDICTS`, or None when it was compared with nothing), and
        ``vs_twin`` says in ``strongest_by`` how the twin was chosen. Intervals that are not defined are None.
    """
    controls = controls or {}
    accuracies = {method: by_seed(runs, method, "accuracy") for method in methods_of(runs)}
    return [_line(method, runs, accuracies, twins, controls, tuning) for method in accuracies]


def methods_of(runs: Iterable[Run]) -> list[str]:
    """The names of the methods in the order of their first run."""
    return list(dict.fromkeys(str(run["method"]) for run in runs))


def by_seed(runs: Iterable[Run], method: str, metric: str) -> dict[int, float]:
    """A final metric of one method for each seed, where it is a finite number."""
    found = {run["seed"]: (run.get("final") or {}).get(metric) for run in runs if run["method"] == method}
    return {seed: float(x) for seed, x in found.items() if isinstance(x, int | float) and math.isfinite(x)}


def declared(runs: Iterable[Run]) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """The twins and controls that the runs themselves name (``twins`` or ``twin``, and ``control_of``)."""
    twins: dict[str, tuple[str, ...]] = {}
    controls: dict[str, str] = {}
    for run in runs:
        named = run.get("twins") or run.get("twin") or ()
        twins[run["method"]] = (named,) if isinstance(named, str) else tuple(named)
        if run.get("control_of"):
            controls[run["method"]] = run["control_of"]
    return twins, controls


def strongest(
    candidates: Sequence[str], accuracies: Mapping[str, Mapping[int, float]], tuning: Mapping[str, Any] | None
) -> tuple[str, str] | None:
    """The strongest of the candidates that have a result, and by what: its tuning score or its mean accuracy.

    Tuning scores decide when there is one for each candidate: the choice then has not seen the test data. By mean
    accuracy on the test data the choice favours the twin, since the luckiest of several is taken.
    """
    present = [method for method in candidates if accuracies.get(method)]
    if not present:
        return None
    means = {method: sum(accuracies[method].values()) / len(accuracies[method]) for method in present}
    scores = tuning_scores(tuning)
    if all(method in scores for method in present):
        return max(present, key=lambda method: (scores[method], means[method])), "tuning score"
    return max(present, key=lambda method: means[method]), "mean test accuracy"


def tuning_scores(tuning: Mapping[str, Any] | None) -> dict[str, float]:
    """The best mean score of each method over its settings, larger is better (a loss changes its sign)."""
    if not tuning:
        return {}
    sign = -1.0 if "loss" in str(tuning.get("metric", "")) else 1.0
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in tuning.get("trials") or ():
        score = trial.get("score")
        if isinstance(score, int | float) and math.isfinite(score):
            settings = json.dumps(trial.get("settings"), sort_keys=True, default=str)
            scores[trial["method"]][settings].append(sign * float(score))
    return {method: max(sum(s) / len(s) for s in each.values()) for method, each in scores.items()}


def _line(
    method: str,
    runs: Sequence[Run],
    accuracies: Mapping[str, Mapping[int, float]],
    twins: Mapping[str, Sequence[str]],
    controls: Mapping[str, str],
    tuning: Mapping[str, Any] | None,
) -> dict[str, Any]:
    quantum = any(run.get("quantum") for run in runs if run["method"] == method)
    line: dict[str, Any] = {"method": method, "quantum": quantum, "seeds": len(accuracies[method])}
    line |= {metric: _interval(by_seed(runs, method, metric)) for metric in _METRICS}
    line |= {"vs_twin": None, "control_of": controls.get(method)}
    if not quantum or method in controls:
        return line
    twin = strongest(twins.get(method, ()), accuracies, tuning)
    classical = [m for m in accuracies if m not in controls and not _is_quantum(runs, m)]
    best = strongest(classical, accuracies, None)
    ablations = [control for control, of in controls.items() if of == method]
    versus = {control: _compare(method, control, "its control", accuracies) for control in ablations}
    line["vs_twin"] = twin and _compare(method, twin[0], "its strongest twin", accuracies)
    if twin and line["vs_twin"]:
        line["vs_twin"] = {"twin": twin[0], **line["vs_twin"], "strongest_by": twin[1]}
    line["vs_best_classical"] = best and _compare(method, best[0], "the best classical method", accuracies)
    line["vs_controls"] = [{"control": name, **found} for name, found in versus.items() if found]
    line["verdict"] = _verdict(line["vs_twin"], line["vs_best_classical"])
    return line


def _is_quantum(runs: Iterable[Run], method: str) -> bool:
    return any(run.get("quantum") for run in runs if run["method"] == method)


def _interval(values: Mapping[int, float]) -> dict[str, Any] | None:
    if not values:
        return None
    found = estimate(list(values.values()))
    return {"mean": found.mean, "ci95": list(found.interval) if found.interval else None}


def _compare(
    method: str, other: str, role: str, accuracies: Mapping[str, Mapping[int, float]]
) -> dict[str, Any] | None:
    seeds = sorted(accuracies[method].keys() & accuracies.get(other, {}).keys())
    if not seeds:
        return None
    found = paired([accuracies[method][seed] for seed in seeds], [accuracies[other][seed] for seed in seeds])
    return {
        "other": other,
        "difference": found.mean,
        "ci95": list(found.interval) if found.interval else None,
        "seeds": found.n,
        "detectable": found.detectable,
        "equivalent": equivalent(found),
        "margin": MARGIN,
        "finding": finding(found),
        "sentence": sentence(method, f"{role} {other}", found),
    }


def finding(found: Estimate) -> str:
    """What a paired difference shows: ``above``, ``below``, ``none`` (no difference found) or ``undecided``."""
    if found.interval is None:
        return "none" if found.n > 1 and abs(found.mean) < 1e-12 else "undecided"
    low, high = found.interval
    return "above" if low > 0 else "below" if high < 0 else "none"


def sentence(method: str, other: str, found: Estimate) -> str:
    """A paired difference of accuracies in plain words, in percentage points.

    Example:
        >>> from qfedfm.report.statistics import Estimate
        >>> sentence("born", "its control plain", Estimate(0.02, (0.01, 0.03), 5, 0.008, 0.014))
        'born is 2.0 points above its control plain (95 % interval +1.0 to +3.0, 5 seeds): a difference was found.'
    """
    size = f"{abs(100 * found.mean):.1f}"
    where = f"{size} points {'above' if found.mean > 0 else 'below'}" if float(size) else "level with"
    if found.n == 1:
        return f"{method} is {where} {other} in the one seed that both have: more seeds are needed to say anything."
    if found.interval is None:
        if finding(found) == "none":
            return f"{method} has the accuracy of {other} in all {found.n} seeds: no difference was found."
        return f"{method} is {where} {other} in each of {found.n} seeds alike: no interval can be computed."
    low, high = (points(end) for end in found.interval)
    start = f"{method} is {where} {other} (95 % interval {low} to {high}, {found.n} seeds): "
    if finding(found) != "none":
        return start + "a difference was found."
    seen = "" if found.detectable is None else f"; this study could have seen {100 * found.detectable:.1f} points"
    return start + f"no difference was found; differences beyond {high} and {low} points are excluded{seen}."


def points(fraction: float) -> str:
    """A difference of fractions as signed percentage points, with a true minus sign.

    Example:
        >>> points(-0.0093), points(0.017)
        ('−0.9', '+1.7')
    """
    text = f"{100 * fraction:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _verdict(twin: Mapping[str, Any] | None, best: Mapping[str, Any] | None) -> str | None:
    if twin is None:
        return None
    if "below" in (twin["finding"], best["finding"] if best else ""):
        return "no"
    return "yes" if twin["finding"] == "above" else "not shown"


def conclude(summary: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> list[str]:
    """The ``conclusion`` of ``results.json``: the verdict first, then what it rests on, a sentence each.

    A quantum method earns its place (yes) when it is above its strongest twin and not below the best classical method,
    both beyond the 95 % interval; it does not (no) when it is below either; otherwise nothing is shown.
    """
    judged = [line for line in summary if "verdict" in line]
    if not runs:
        return ["No run has finished yet: there is nothing to conclude."]
    if not judged:
        return ["No quantum method took part: there is nothing to conclude about one.", *_validation(runs)]
    said = [_judgement(line) for line in judged]
    first = f"{QUESTION} {said[0]}" if len(said) == 1 else f"{QUESTION} {' '.join(said)}"
    sentences = [first]
    for line in judged:
        sentences += _evidence(line)
    if len(judged) > 1:
        sentences.append(f"The intervals are not widened for making {len(judged)} comparisons.")
    return sentences + _validation(runs)


def _judgement(line: Mapping[str, Any]) -> str:
    method, twin, best = line["method"], line["vs_twin"], line["vs_best_classical"]
    match line["verdict"]:
        case "yes":
            return f"Yes: {method} is above its strongest twin {twin['twin']} and not below the best classical method."
        case "no" if twin["finding"] == "below":
            return f"No: {method} is below its strongest twin {twin['twin']}."
        case "no":
            return f"No: {method} is below {best['other']}, which needs no circuit."
        case "not shown" if twin["finding"] == "none":
            return f"Not shown: no difference was found between {method} and its strongest twin {twin['twin']}."
        case "not shown":
            return f"Not shown: there are too few seeds to tell {method} from its strongest twin {twin['twin']}."
    return f"Not shown: no twin of {method} has a result in this comparison."


def _evidence(line: Mapping[str, Any]) -> list[str]:
    twin, best = line["vs_twin"], line["vs_best_classical"]
    found = (
        [
            twin["sentence"],
            *_equivalence(line["method"], twin),
            f"Of the twins of {line['method']}, {twin['twin']} is the strongest by {twin['strongest_by']}.",
        ]
        if twin
        else []
    )
    if best and not (twin and best["other"] == twin["twin"]):
        found.append(best["sentence"])
    return found + [control["sentence"] for control in line["vs_controls"]]


def _equivalence(method: str, twin: Mapping[str, Any]) -> list[str]:
    """Whether the difference is too small to matter, where the comparison says so."""
    if twin["finding"] == "undecided" or "equivalent" not in twin:
        return []
    shown = "are equivalent" if twin["equivalent"] else "were not shown to be equivalent"
    within = f"within {100 * twin['margin']:.0f} point (two one-sided tests of 5 %)"
    return [f"{method} and {twin['twin']} {shown} {within}."]


def _validation(runs: Sequence[Run]) -> list[str]:
    saw = methods_of(run for run in runs if run.get("sees_validation"))
    blind = [method for method in methods_of(runs) if method not in saw]
    if not saw:
        return ["No method saw validation data on the server."]
    if not blind:
        return ["Every method saw validation data on the server."]
    return [f"{_list(saw)} saw validation data on the server; {_list(blind)} did not."]


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
