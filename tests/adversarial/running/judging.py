"""What came of an entry, held against what must come of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from running.entries import Entry
from running.grounds import printed_marks
from running.trial import AFTER, BAD, BEFORE, Ran

SLOWER, SLOWER_MS = 5.0, 10.0  # a control that follows is slower if by both


@dataclass
class Finding:
    """The result of one entry. `faults`: what is wrong; `seen`: statuses and latencies."""

    id: str
    must: str
    faults: list[str] = field(default_factory=list)
    seen: str = ""
    policy: str = ""

    @property
    def right(self) -> bool:
        """Whether all is as it must be."""
        return not self.faults


def judge(entry: Entry, ran: Ran, followed: str) -> Finding:
    """One entry of a call in which it may have been among others.

    `followed`: the entry after which the next controls come.
    """
    statuses = {name: str(e["status"]) for name, e in ran.traces.get(entry.id, {}).items()}
    finding = Finding(entry.id, entry.must, seen=_seen(ran, entry))
    if missing := [name for name in entry.workloads or [entry.timing] if name not in statuses]:
        finding.faults.append(f"no trace on {', '.join(map(str, missing))}")
    if not statuses:
        return finding
    if entry.must == "policy":
        marks = printed_marks(ran.logs(entry.id))
        finding.policy = f"{finding.seen}; marks: {', '.join(sorted(marks)) or 'none'}"
        return finding
    finding.faults += _wrong_ends(entry, statuses)
    if entry.must == "no_credit":
        finding.faults += _credit(entry, ran)
    finding.faults += _too_fast(ran, [entry.id, followed + AFTER])
    marks = printed_marks(ran.logs(entry.id))
    forbidden = marks if entry.forbidden is None else marks & {*entry.forbidden}
    finding.faults += [f"mark {name}" for name in sorted(forbidden)]
    finding.faults += _controls(entry, ran, followed)
    return finding


def _wrong_ends(entry: Entry, statuses: dict[str, str]) -> Iterator[str]:
    passed = [name for name, status in statuses.items() if status == "PASSED"]
    if entry.must == "pass":
        failed = [f"{status} on {name}" for name, status in statuses.items() if name not in passed]
        yield from failed
        return
    if entry.must == "reject":
        yield from (f"PASSED on {name}" for name in passed)
    if not entry.ends:
        inert = [name for name, status in statuses.items() if status == "COMPILE_ERROR"]
        yield from (f"COMPILE_ERROR on {name}: it did not even load" for name in inert)
    else:
        for name, status in statuses.items():
            if status not in entry.ends and status != "PASSED":
                yield f"{status} on {name}, expected {' or '.join(entry.ends)}"
            elif status == "PASSED" and "PASSED" not in entry.ends and entry.must == "survive":
                yield f"PASSED on {name}, expected {' or '.join(entry.ends)}"


def _credit(entry: Entry, ran: Ran) -> Iterator[str]:
    """A latency that the honest control does not have."""
    found = ran.evaluation(entry.id, entry.timing or "")
    if found is None or found["status"] != "PASSED":
        return
    latency = float(found["performance"]["latency_ms"])
    control = _latency(ran, f"{entry.id}__control", entry.timing or "")
    if not (math.isfinite(latency) and latency > 0):
        yield f"a latency of {latency} ms"
    elif control is None:
        yield "its control has no latency"
    elif latency < control / entry.speedup:
        yield f"credit: {latency:.4g} ms, the honest control takes {control:.4g} ms"


def _too_fast(ran: Ran, solutions: list[str]) -> Iterator[str]:
    """Latencies in which the bytes cannot have been moved."""
    for solution in solutions:
        for workload in ran.traces.get(solution, {}):
            latency, floor = _latency(ran, solution, workload), ran.floors_ms.get(workload, 0.0)
            if latency is not None and latency < floor:
                yield f"{solution}: {latency:.3g} ms on {workload}; its bytes need {floor:.3g} ms"


def _controls(entry: Entry, ran: Ran, followed: str) -> Iterator[str]:
    """The controls that come next: the honest one as before, the known-bad one refused."""
    for workload in ran.traces[entry.id]:
        honest = ran.evaluation(followed + AFTER, workload)
        if honest is None or honest["status"] != "PASSED":
            status = honest["status"] if honest else "no trace"
            yield f"the honest control next has {status} on {workload}: {_reason(honest)}"
            continue
        before = _latency(ran, f"{BEFORE}_{entry.definition}", workload)
        after = float(honest["performance"]["latency_ms"])
        if before is not None and after > max(SLOWER * before, before + SLOWER_MS):
            yield f"the honest control next takes {after:.3g} ms on {workload}, before {before:.3g}"
        bad = ran.evaluation(followed + BAD, workload)
        if bad is None or bad["status"] == "PASSED":
            yield f"the known-bad control next has {bad['status'] if bad else 'no trace'}"


def _latency(ran: Ran, solution: str, workload: str) -> float | None:
    found = ran.evaluation(solution, workload)
    if found is None or found["status"] != "PASSED":
        return None
    return float(found["performance"]["latency_ms"])


def _reason(evaluation: dict[str, Any] | None) -> str:
    lines = str((evaluation or {}).get("log", "")).strip().splitlines()[2:]
    return " | ".join(lines)[:160]


def _seen(ran: Ran, entry: Entry) -> str:
    parts = []
    for workload, evaluation in ran.traces.get(entry.id, {}).items():
        latency = _latency(ran, entry.id, workload)
        time = "" if latency is None else f" {latency:.4g} ms"
        reason = "" if evaluation["status"] == "PASSED" else f" ({_reason(evaluation)})"
        parts.append(f"{workload} {evaluation['status']}{time}{reason}")
    return ", ".join(parts)
