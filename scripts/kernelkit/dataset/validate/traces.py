"""Checks of one trace line against what the dataset holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import isfinite

from kernelkit.dataset.trace import Performance, Status, Trace
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.workload import Workload

SPEEDUP_SLACK = 0.02  # writers round latencies and their quotient apart


def check_trace(
    trace: Trace, solutions: Collection[str], workloads: Mapping[str, Workload | None]
) -> Iterator[Problem]:
    """Faults of a trace that loads; `solutions` and `workloads` are its definition's.

    A workload is None where its line has a uuid and is broken otherwise.
    """
    if trace.solution is None or trace.evaluation is None:
        yield "T6", "evaluation", "incomplete", "workload lines belong into workloads/"
        return
    if trace.solution not in solutions:
        yield "T2", "solution", trace.solution, "add the solution or drop the trace"
    if trace.workload.uuid not in workloads:
        yield "T3", "workload.uuid", trace.workload.uuid, "add the workload or drop the trace"
    held = workloads.get(trace.workload.uuid)
    if held is not None and held != trace.workload:
        text = f"{trace.workload.uuid} has other axes or inputs there"
        yield "T8", "workload", text, "evaluate again on the workload as it is now"
    if trace.evaluation.performance is not None:
        yield from _performance(trace.evaluation.status, trace.evaluation.performance)


def _performance(status: Status, performance: Performance) -> Iterator[Problem]:
    latency = performance.latency_ms
    if status is Status.PASSED and (latency <= 0 or not isfinite(latency)):
        yield "T5", "evaluation.performance.latency_ms", f"{latency:g}", "measure again"
        return
    quotient = performance.reference_latency_ms / latency
    gap = abs(performance.speedup_factor - quotient)
    if not isfinite(quotient) or gap > SPEEDUP_SLACK * quotient:
        text = f"{performance.speedup_factor:.4g}, the latencies give {quotient:.4g}"
        yield "T4", "evaluation.performance.speedup_factor", text, "recompute it"
