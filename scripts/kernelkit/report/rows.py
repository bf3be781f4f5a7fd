"""Traces as rows of a report: what was measured, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kernelkit import ops
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Evaluation, Trace
from kernelkit.errors import KernelkitError


@dataclass(frozen=True)
class Row:
    """One trace. Times in milliseconds; None where a trace does not tell."""

    op_type: str
    definition: str
    solution: str
    workload: str  # uuid
    axes: dict[str, int]
    status: str
    latency_ms: float | None
    p20_ms: float | None
    p80_ms: float | None
    reference_ms: float | None
    speedup: float | None
    max_abs: float | None
    max_rel: float | None
    gb_per_s: float | None
    gflop_per_s: float | None
    hardware: str
    timestamp: str
    log: str

    @property
    def passed(self) -> bool:
        """Whether the solution's outputs were right."""
        return self.status == "PASSED"


def make_rows(traces: Iterable[Trace], definitions: Mapping[str, Definition]) -> list[Row]:
    """The newest trace of each definition, solution, workload and hardware, in their order."""
    newest: dict[tuple[str, str, str, str], Row] = {}
    for trace in traces:
        if trace.solution is not None and trace.evaluation is not None:
            row = _row(trace, trace.evaluation, definitions.get(trace.definition))
            key = (row.definition, row.solution, row.workload, row.hardware)
            if key not in newest or row.timestamp >= newest[key].timestamp:
                newest[key] = row
    return list(newest.values())


def geometric_mean(rows: Iterable[Row]) -> float | None:
    """Of the speedups of the rows that passed; None where none did."""
    logs = [math.log(row.speedup) for row in rows if row.passed and row.speedup]
    return math.exp(sum(logs) / len(logs)) if logs else None


def _row(trace: Trace, evaluation: Evaluation, definition: Definition | None) -> Row:
    performance, correctness = evaluation.performance, evaluation.correctness
    extra = (correctness.extra if correctness else None) or {}
    timing = extra.get("timing") or {}
    latency = performance.latency_ms if performance else None
    gigabytes, gigaflops = _rates(trace, definition, latency)
    return Row(
        op_type=definition.op_type if definition else "unknown",
        definition=trace.definition,
        solution=str(trace.solution),
        workload=trace.workload.uuid,
        axes=dict(trace.workload.axes),
        status=evaluation.status.value,
        latency_ms=latency,
        p20_ms=_number(timing.get("p20_ms")),
        p80_ms=_number(timing.get("p80_ms")),
        reference_ms=performance.reference_latency_ms if performance else None,
        speedup=performance.speedup_factor if performance else None,
        max_abs=correctness.max_absolute_error if correctness else None,
        max_rel=correctness.max_relative_error if correctness else None,
        gb_per_s=gigabytes,
        gflop_per_s=gigaflops,
        hardware=evaluation.environment.hardware,
        timestamp=evaluation.timestamp,
        log=evaluation.log,
    )


def _rates(
    trace: Trace, definition: Definition | None, latency_ms: float | None
) -> tuple[float | None, float | None]:
    """GB/s and GFLOP/s of what a call must at least move and compute."""
    if definition is None or not latency_ms:
        return None, None
    try:
        cost = ops.family(definition.op_type).cost(definition, trace.workload.axes)
    except (KernelkitError, KeyError, ArithmeticError):
        return None, None  # a definition of another's making: its axes have other names
    return cost.bytes_moved / latency_ms / 1e6, cost.flops / latency_ms / 1e6


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
