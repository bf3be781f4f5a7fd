"""What a pull request can say of a definition: counts, ranges, origins, verdicts, tests."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset, is_lfs_pointer
from kernelkit.dataset.trace import Status, Trace
from kernelkit.dataset.workload import SafetensorsInput
from kernelkit.reftests import outcomes

Origin = dict[str, Any]
# What of a workload's provenance is the same for all calls of one recording.
_OF_A_RECORDING = ("source", "model", "sglang_version", "flashinfer_version", "weights")


@dataclass(frozen=True)
class Timings:
    """The traces of one solution on one device. Latencies are medians over workloads."""

    solution: str
    hardware: str
    traces: int
    passed: int
    latency_ms: float | None
    speedup: float | None  # geometric mean over the reference


@dataclass(frozen=True)
class Evidence:
    """Everything that the dataset holds for one definition."""

    definition: Definition
    workloads: tuple[Trace, ...]
    traces: tuple[Trace, ...]
    has_test: bool
    outcome: Mapping[str, Any] | None  # of the reference test; None: no run is recorded
    blob_count: int
    blob_bytes: int
    pointers: int  # recorded tensors that are Git-LFS pointers here

    @property
    def is_outcome_current(self) -> bool:
        """Whether the recorded run tested this interface and this reference."""
        held = self.outcome or {}
        return held.get("definition") == outcomes.digest(self.definition)


def gather(dataset: Dataset, definition: Definition, staging: Dataset) -> Evidence:
    """Read the definition's files. Outcomes of tests stand in the staging folder only: the file
    is one for all definitions and goes into no commit. Raises FormatError for a bad line."""
    workloads = tuple(dataset.workloads_of(definition))
    blobs = [dataset.root / path for path in sorted(_blob_paths(workloads))]
    there = [path for path in blobs if path.is_file()]
    recorded = outcomes.load(staging.root.joinpath(*outcomes.FILE))
    test = dataset.root / "tests" / "references" / f"test_{definition.name}.py"
    return Evidence(
        definition=definition,
        workloads=workloads,
        traces=tuple(dataset.traces_of(definition)),
        has_test=test.is_file(),
        outcome=recorded.get(definition.name),
        blob_count=len(blobs),
        blob_bytes=sum(path.stat().st_size for path in there),
        pointers=sum(is_lfs_pointer(path) for path in there),
    )


def _blob_paths(lines: Iterable[Trace]) -> set[str]:
    sources = (source for line in lines for source in line.workload.inputs.values())
    return {source.path for source in sources if isinstance(source, SafetensorsInput)}


def ranges(lines: Sequence[Trace]) -> dict[str, tuple[int, int]]:
    """The least and greatest value of each variable axis."""
    values: dict[str, list[int]] = {}
    for line in lines:
        for axis, value in line.workload.axes.items():
            values.setdefault(axis, []).append(value)
    return {axis: (min(found), max(found)) for axis, found in values.items()}


def provenance_of(line: Trace) -> Origin:
    """Where the workload was recorded; empty where it does not say."""
    return dict(line.workload.to_json().get("provenance") or {})


def origins(lines: Sequence[Trace]) -> list[tuple[Origin, int]]:
    """The recordings that the workloads are from, each with how many."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for line in lines:
        found = provenance_of(line)
        counts[tuple(found.get(key) for key in _OF_A_RECORDING)] += 1
    named = ((dict(zip(_OF_A_RECORDING, key, strict=True)), n) for key, n in counts.most_common())
    return [({k: v for k, v in origin.items() if v is not None}, n) for origin, n in named]


def timings(traces: Sequence[Trace]) -> list[Timings]:
    """One row for each solution and device, sorted."""
    groups: dict[tuple[str, str], list[Trace]] = {}
    for trace in traces:
        if trace.solution and trace.evaluation:
            key = trace.solution, trace.evaluation.environment.hardware
            groups.setdefault(key, []).append(trace)
    return [_timings(*key, group) for key, group in sorted(groups.items())]


def _timings(solution: str, hardware: str, group: Sequence[Trace]) -> Timings:
    found = [t.evaluation.performance for t in group if is_passed(t) and t.evaluation]
    times = [p.latency_ms for p in found if p and p.latency_ms > 0]
    gains = [p.speedup_factor for p in found if p and p.speedup_factor > 0]
    return Timings(
        solution, hardware, len(group), sum(map(is_passed, group)),
        statistics.median(times) if times else None,
        statistics.geometric_mean(gains) if gains else None,
    )  # fmt: skip


def is_passed(trace: Trace) -> bool:
    """Whether the verdict is PASSED."""
    return trace.evaluation is not None and trace.evaluation.status is Status.PASSED
