"""Evaluates the FlashInfer baseline on what was collected, and believes traces alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit import places
from kernelkit.dataset.store import Dataset

BENCH = places.SCRIPTS / "bench.py"
AUTHORS = ("flashinfer", "baseline")


@dataclass
class Evaluated:
    """By definition: workloads with a PASSED trace, others with their status, those without any."""

    passed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, list[str]] = field(default_factory=dict)
    without_baseline: list[str] = field(default_factory=list)
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether every workload that has a baseline passed."""
        return not self.failed and not self.problem


def evaluate(
    dataset: Dataset, added: Mapping[str, Sequence[str]], output: Path, *, timeout_s: float
) -> Evaluated:
    """Run the baselines on the workloads `added` (definition -> uuids); traces go to `output`.

    A workload without a fresh trace is a failure, whatever the program's exit code says.
    """
    found = Evaluated()
    for name, uuids in added.items():
        definition = dataset.find_definition(name)
        solutions = [s.name for s in dataset.solutions_of(definition) if s.author in AUTHORS]
        if not solutions:
            found.without_baseline.append(name)
            continue
        command = [
            sys.executable, str(BENCH), "--dataset", str(dataset.root), "--definitions", name,
            "--solutions", ",".join(solutions), "--workloads", ",".join(uuids),
            "--output", str(output), "--json",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            found.failed[name] = [f"not evaluated within {timeout_s:g} s"]
            continue
        if done.returncode not in (0, 1):
            found.problem = (done.stderr.strip().splitlines() or ["bench.py failed"])[-1]
        _read(found, output, name, uuids)
    return found


def _read(found: Evaluated, output: Path, name: str, uuids: Sequence[str]) -> None:
    """What the traces say of each workload."""
    statuses: dict[str, str] = {}
    for path in sorted((output / "traces").rglob(f"{name}.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            trace = json.loads(line)
            statuses[trace["workload"]["uuid"]] = trace["evaluation"]["status"]
    passed = [one for one in uuids if statuses.get(one) == "PASSED"]
    found.passed[name] = len(passed)
    failed = [f"{one}: {statuses.get(one, 'no trace')}" for one in uuids if one not in passed]
    if failed:
        found.failed[name] = failed


def lines(found: Evaluated) -> list[str]:
    """What a person is told."""
    told = [f"baseline: {name}: {count} PASSED" for name, count in found.passed.items()]
    told += [f"baseline: {name}: {'; '.join(bad[:3])}" for name, bad in found.failed.items()]
    told += [
        f"baseline: {name}: the dataset has no FlashInfer solution of it"
        for name in found.without_baseline
    ]
    return [*told, f"error: evaluation: {found.problem}"] if found.problem else told
