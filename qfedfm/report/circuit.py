"""The circuit of a quantum method, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qfedfm.core.errors import QfedfmError
from qfedfm.core.registry import build
from qfedfm.report.study import Study
from qfedfm.report.svg import blank, style, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLACK_ON_CARD = {"name": "bw"}
_INCHES_A_GATE = 0.5


@dataclass(frozen=True)
class Drawing:
    """A circuit as SVG, or the reason why there is none, in ``note``."""

    method: str
    svg: str
    note: str


def reduce_config(study: Study, method: str) -> Any:
    """The configuration of a method's reduce in the experiment, or None where the experiment does not say it."""
    experiment = study.experiment
    table = (experiment.get("compare") or {}).get(method) or experiment.get("method")
    return table.get("reduce") if isinstance(table, Mapping) else None


def circuits(study: Study, prefix: str) -> list[Drawing]:
    """A drawing for each quantum method whose reduce has a circuit."""
    clients = len(study.results.get("clients") or ()) or _clients(study)
    found = []
    for index, method in enumerate(name for name in study.methods if name in study.quantum):
        try:
            reduce = build("reduce", reduce_config(study, method) or method)
            if hasattr(reduce, "circuit"):
                found.append(_draw(method, reduce.circuit(clients), clients, f"{prefix}circuit-{index}"))
        except ImportError as error:
            found.append(Drawing(method, "", f"not drawn: {error.name or 'a package'} is not installed"))
        except QfedfmError as error:
            found.append(Drawing(method, "", f"not drawn: {error}"))
    return found


def _clients(study: Study) -> int:
    return max((len(line.get("client_accuracy") or ()) for line in study.history), default=1) or 1


def _draw(method: str, circuit: Any, clients: int, name: str) -> Drawing:
    with style(**{"text.parse_math": True}):
        # Qiskit fits its text to the size of the axes, which is known only once the circuit has been laid out.
        (left, right), (bottom, top) = _onto(circuit, 5.0, 5.0)[1]
        figure, _ = _onto(circuit, _INCHES_A_GATE * (right - left), _INCHES_A_GATE * (top - bottom))
        two = circuit.num_nonlocal_gates()
        note = (
            f"{circuit.num_qubits} qubits for {clients} clients, depth {circuit.depth()}, "
            f"{two} two-qubit gate{'s' if two != 1 else ''}, {circuit.num_parameters} parameters."
        )
        return Drawing(method, svg(figure, name, f"Circuit of {method}: {note}", fonttype="path", least=0.7), note)


def _onto(circuit: Any, width: float, height: float) -> tuple[Figure, tuple[Any, Any]]:
    figure = blank(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    circuit.draw("mpl", ax=axes, style=_BLACK_ON_CARD, fold=-1)
    return figure, (axes.get_xlim(), axes.get_ylim())
