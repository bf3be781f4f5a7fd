"""Traces as rows of a report: what was measured, and what follows from it.

A trace of any evaluator makes a row. What only this pack's evaluator writes (spread, rates, limit,
seed) is read from `evaluation.correctness.extra` where it is there and of the right type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Evaluation, Trace
from kernelkit.report import facts

SOURCE = re.compile(r"solution sha256:([0-9a-f]{16}) on ")
# Ceilings are medians with a spread of their own; a CPU's are measured on cores that others share.
CEILING_PERCENT, CEILING_PERCENT_ON_CPU = 105.0, 150.0


@dataclass(frozen=True, slots=True)  # a dataset may have a million
class Row:
    """One solution on one workload and hardware: its newest trace. None where it does not tell."""

    op_type: str
    definition: str
    solution: str
    workload: str  # uuid
    axes: dict[str, int]
    status: str
    hardware: str
    timestamp: str
    log: str
    author: str = ""
    latency_ms: float | None = None  # median
    p10_ms: float | None = None
    p90_ms: float | None = None
    relative_error: float | None = None  # of the median, a fraction
    reference_ms: float | None = None
    speedup: float | None = None  # reference latency over latency
    vs_baseline: float | None = None  # baseline's latency over latency, same workload and hardware
    vs_best: float | None = None  # best latency in the dataset over latency: 1 is the best
    max_abs: float | None = None
    max_rel: float | None = None
    bytes_moved: float | None = None  # what the op needs, whatever the kernel moved
    flops: float | None = None
    gb_per_s: float | None = None  # 1e9 bytes
    tflop_per_s: float | None = None
    limit: str | None = None  # memory or compute: the measured ceiling that binds
    limit_ms: float | None = None  # latency at that ceiling
    percent_of_limit: float | None = None
    method: str | None = None  # of timing
    l2: str | None = None
    host_overhead_ms: float | None = None
    setup_ms: float | None = None
    seed: int | None = None
    evaluator: str | None = None
    libs: dict[str, str] = field(default_factory=dict)
    source: str | None = None  # hash of the solution, as the log names it
    older_traces: int = 0  # of the same solution, workload and hardware, not shown

    @property
    def is_suspect(self) -> bool:
        """Whether it is further beyond the measured limit than that may be wrong: an error
        somewhere, not a win."""
        most = CEILING_PERCENT_ON_CPU if self.method == "wall clock" else CEILING_PERCENT
        return (self.percent_of_limit or 0.0) > most

    @property
    def passed(self) -> bool:
        """Whether the solution's outputs were right."""
        return self.status == "PASSED"

    @property
    def place(self) -> tuple[str, str, str]:
        """Rows of one place can be compared: definition, workload, hardware."""
        return self.definition, self.workload, self.hardware


def make_rows(
    traces: Iterable[Trace],
    definitions: Mapping[str, Definition],
    authors: Mapping[str, str] | None = None,
) -> list[Row]:
    """The newest trace of each definition, solution, workload and hardware, in their order.

    Of two of one time the later in the file counts. `authors` are by solution name.
    """
    newest: dict[tuple[str, ...], Row] = {}
    kept = _Kept()
    for trace in traces:
        if trace.solution is None or trace.evaluation is None:
            continue
        definition = definitions.get(trace.definition)
        row = _row(trace, trace.evaluation, definition, authors or {}, kept)
        key = (*row.place, row.solution)
        known = newest.get(key)
        if known is not None:
            later = moment(row.timestamp) >= moment(known.timestamp)
            row = replace(row if later else known, older_traces=known.older_traces + 1)
        newest[key] = row
    return list(newest.values())


def relate(rows: Iterable[Row], baseline: str | None = None) -> list[Row]:
    """The rows with `vs_best`, and `vs_baseline` where a baseline is named.

    Only rows that passed have or give a quotient, and only on the same hardware.
    """
    rows = list(rows)
    best: dict[tuple[str, str, str], float] = {}
    base: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if row.passed and row.latency_ms:
            best[row.place] = min(row.latency_ms, best.get(row.place, math.inf))
            if row.solution == baseline:
                base[row.place] = row.latency_ms
    for index, row in enumerate(rows):  # in place: never two lists of all rows
        if row.passed and row.latency_ms:
            over = best[row.place] / row.latency_ms
            rows[index] = replace(row, vs_best=over, vs_baseline=_over(base, row))
    return rows


def moment(timestamp: str) -> float:
    """Seconds since 1970 of an ISO 8601 time; without a zone it is UTC. -inf for another text."""
    try:
        # Python 3.10 reads neither Z nor a fraction of other than three or six digits.
        text = re.sub("[zZ]$", "+00:00", timestamp.strip())
        text = re.sub(r"\.(\d+)", lambda found: f".{found[1]:0<6.6}", text)
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return -math.inf


def _over(base: Mapping[tuple[str, str, str], float], row: Row) -> float | None:
    return base[row.place] / row.latency_ms if row.place in base and row.latency_ms else None


class _Kept(dict[Any, Any]):
    """One object for all equal ones: most rows share their axes, names and libraries."""

    def text(self, value: str) -> str:
        return self.setdefault(value, value)

    def mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return self.setdefault(tuple(value.items()), dict(value))


def _row(
    trace: Trace,
    evaluation: Evaluation,
    definition: Definition | None,
    authors: Mapping[str, str],
    kept: _Kept,
) -> Row:
    extra = facts.mapping(evaluation.correctness.extra if evaluation.correctness else None)
    found = SOURCE.match(evaluation.log)
    return Row(
        op_type=definition.op_type if definition else "unknown",
        definition=kept.text(trace.definition),
        solution=kept.text(str(trace.solution)),
        author=authors.get(str(trace.solution), ""),
        workload=kept.text(trace.workload.uuid),
        axes=kept.mapping(trace.workload.axes),
        status=evaluation.status.value,
        hardware=kept.text(evaluation.environment.hardware),
        libs=kept.mapping(evaluation.environment.libs),
        timestamp=evaluation.timestamp,
        log=evaluation.log,
        source=found.group(1) if found else None,
        seed=extra["seed"] if type(extra.get("seed")) is int else None,
        evaluator=facts.text(extra.get("evaluator")),
        **facts.measured(evaluation, facts.mapping(extra.get("timing"))),
        **facts.rates(trace, evaluation, definition, facts.mapping(extra.get("speed_of_light"))),
    )
