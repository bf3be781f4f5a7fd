"""Checks of one trace line against what the dataset holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kernelkit.dataset.trace import Status, Trace
from kernelkit.dataset.validate.definitions import Problem

SPEEDUP_SLACK = 0.02  # writers round latencies and their quotient apart


def check_trace(
    trace: Trace, solutions: Collection[str], workloads: Collection[str]
) -> Iterator[Problem]:
    """Faults of a trace that loads; `solutions` and `workloads` are its definition's."""
    if trace.solution is None or trace.evaluation is None:
        yield "T6", "evaluation", "incomplete", "workload lines belong into workloads/"
        return
    if trace.solution not in solutions:
        yield "T2", "solution", trace.solution, "add the solution or drop the trace"
    if trace.workload.uuid not in workloads:
        yield "T3", "workload.uuid", trace.workload.uuid, "add the workload or drop the trace"
    performance = trace.evaluation.performance
    if performance is None:
        return
    if trace.evaluation.status is Status.PASSED and performance.latency_ms <= 0:
        yield "T5", "evaluation.performance.latency_ms", "0", "measure again"
    elif performance.reference_latency_ms > 0:
        quotient = performance.reference_latency_ms / performance.latency_ms
        if abs(performance.speedup_factor - quotient) > SPEEDUP_SLACK * quotient:
            text = f"{performance.speedup_factor:.4g}, the latencies give {quotient:.4g}"
            yield "T4", "evaluation.performance.speedup_factor", text, "recompute it"
