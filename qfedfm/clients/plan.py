"""What the fused engine chose for a machine: kept with a run and repeated when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch

from qfedfm.clients.precision import probe, probe_attention
from qfedfm.core.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """The choices on which bits depend.

    Args:
        engine: ``fused``, or ``sequential`` where the model cannot be fused.
        device: as torch names it.
        precision: of the frozen base, ``float32`` or ``bfloat16``.
        attention: ``eager``, or ``default`` for what transformers chooses.
        encoder: ``lean`` where the layers of the model were replaced by the written-out ones, else ``modules``.
        micro_batch_tokens: tokens in one pass.
        lanes: clients that are trained at once.
        cache_bytes: the most that kept hidden states may take.
        workers: passes that run side by side, each on one thread; 1 where they run one after the other.
        prefix: ``kept`` where hidden states below the lowest trainable module are kept, else ``computed``.
    """

    engine: str
    device: str
    precision: str
    attention: str
    encoder: str
    micro_batch_tokens: int
    lanes: int
    cache_bytes: int
    workers: int = 1
    prefix: str = "computed"

    def mapping(self) -> Mapping[str, str]:
        """As `ClientEngine.plan` gives it."""
        return {name: str(value) for name, value in asdict(self).items()}


def choose(
    model: torch.nn.Module, device: str | None, precision: str, tokens: int | None, encoder: str = "auto"
) -> Plan:
    """A plan for this machine; ``auto`` precision is measured with the model's own shapes.

    Raises:
        ConfigError: no such precision, encoder or number of tokens, or no such device here.
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"precision {precision!r}", "auto, float32 or bfloat16")
    if encoder not in ("auto", "modules"):
        raise ConfigError(f"encoder {encoder!r}", "auto or modules")
    if tokens is not None and tokens < 1:
        raise ConfigError(f"micro_batch_tokens = {tokens}", "at least 1")
    where = _device(device)
    cpu = where.type == "cpu"
    if precision == "auto":
        precision = probe(model, where, tokens or 1024)
    attention = probe_attention(model, where, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    return Plan(
        "fused", str(where), precision, attention, "lean" if cpu and encoder == "auto" else "modules", tokens or 0, 0, 0
    )


def settled(plan: Plan, *, lean: bool, apart: bool) -> Plan:
    """The plan once the model is prepared: tokens of a pass, unless somebody chose them, and passes at once.

    Args:
        plan: as `choose` made it.
        lean: whether the encoder was replaced.
        apart: whether passes may run side by side.
    """
    cpu = torch.device(plan.device).type == "cpu"
    # On a CPU a pass should stay in the cache; packed rows take less of it than padded ones.
    fitting = 32768 if not cpu else 1536 if lean else 512
    return replace(
        plan,
        encoder="lean" if lean else "modules",
        micro_batch_tokens=plan.micro_batch_tokens or fitting,
        workers=torch.get_num_threads() if cpu and apart else 1,
    )


def repeat(plan: Mapping[str, str]) -> Plan:
    """The plan that `Plan.mapping` gave, checked against this machine.

    Raises:
        ConfigError: it is not such a plan, or its device is not here.
    """
    try:
        numbers = {name: int(plan[name]) for name in ("micro_batch_tokens", "lanes", "cache_bytes", "workers")}
        made = Plan(**{**plan, **numbers})  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        expected = "one that a fused engine of this version made"
        raise ConfigError(f"a plan with {sorted(plan)}", expected, "start the run anew") from None
    _device(made.device)
    return made


def _device(device: str | None) -> torch.device:
    cuda = torch.cuda.is_available()
    where = torch.device(device or ("cuda" if cuda else "cpu"))
    if where.type == "cuda" and not cuda:
        raise ConfigError(f"device {device!r}", "a device of this machine", 'set device = "cpu"')
    return where
