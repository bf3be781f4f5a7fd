"""What a trace tells of one call, and what follows from it: latencies, errors, work, rates.

Facts that only this pack's evaluator writes may be absent or, in another's trace, of any type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Evaluation, Trace
from kernelkit.errors import KernelkitError
from kernelkit.ops import family_or_generic

Facts = Mapping[str, Any]
# What arithmetic on a definition of another shape than its family's can raise.
FOREIGN = (KernelkitError, LookupError, ArithmeticError, AttributeError, TypeError, ValueError)


def measured(evaluation: Evaluation, timing: Facts) -> dict[str, Any]:
    """Errors and latencies; a latency of zero is none."""
    found: dict[str, Any] = {}
    if evaluation.correctness is not None:
        found["max_abs"] = evaluation.correctness.max_absolute_error
        found["max_rel"] = evaluation.correctness.max_relative_error
    performance = evaluation.performance
    if performance is None:
        return found
    latency = positive(performance.latency_ms)
    reference = positive(performance.reference_latency_ms)
    told = positive(performance.speedup_factor)
    numbers = ("p10_ms", "p90_ms", "relative_error", "host_overhead_ms", "setup_ms")
    return {
        **found,
        "latency_ms": latency,
        "reference_ms": reference,
        "speedup": reference / latency if reference and latency else told if latency else None,
        **{name: number(timing.get(name)) for name in numbers},
        "method": text(timing.get("method")),
        "l2": text(timing.get("l2")),
    }


def rates(
    trace: Trace, evaluation: Evaluation, definition: Definition | None, told: Facts
) -> dict[str, Any]:
    """Work and rates: as the trace tells them, else from the op's cost at these axes.

    Without the inputs' contents the cost of paged and ragged ops is an upper bound. The limit is
    known only where the evaluator measured the device.
    """
    performance = evaluation.performance
    latency = positive(performance.latency_ms) if performance else None
    if latency is None:
        return {}
    bytes_moved, flops = number(told.get("bytes_moved")), number(told.get("flops"))
    if bytes_moved is None or flops is None:
        bytes_moved, flops = work(trace, definition)
    limit = told.get("limit") if told.get("limit") in ("memory", "compute") else None
    limit_ms = positive(told.get("limit_ms")) if limit else None
    return {
        "bytes_moved": bytes_moved,
        "flops": flops,
        "gb_per_s": None if bytes_moved is None else bytes_moved / latency / 1e6,
        "tflop_per_s": None if flops is None else flops / latency / 1e9,
        "limit": limit if limit_ms else None,
        "limit_ms": limit_ms,
        "percent_of_limit": 100 * limit_ms / latency if limit_ms else None,
    }


def work(trace: Trace, definition: Definition | None) -> tuple[float | None, float | None]:
    """Bytes and FLOPs of a call from its axes; None for FLOPs that are not known."""
    if definition is None:
        return None, None
    try:
        cost = family_or_generic(definition.op_type).cost(definition, trace.workload.axes)
    except FOREIGN:
        return None, None  # a definition of another's making: its axes have other names
    return float(cost.bytes_moved), float(cost.flops) or None


def mapping(value: object) -> Facts:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str | None:
    """The value if it is text."""
    return value if isinstance(value, str) else None


def number(value: object) -> float | None:
    """A finite number of at least zero."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < math.inf else None


def positive(value: object) -> float | None:
    """A finite number above zero."""
    return number(value) or None
