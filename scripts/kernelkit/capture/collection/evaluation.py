"""Evaluates the FlashInfer baseline on what was collected, and believes traces alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from kernelkit import places
from kernelkit.dataset.store import Dataset

BENCH = places.SCRIPTS / "bench.py"
AUTHORS = ("flashinfer", "baseline")
MOST_CHARACTERS = 100_000  # of one argument: Linux takes 131,072


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

    Definitions go together, so that their processes start and compile at once. A workload without
    a trace is a failure, whatever the program's exit code says.
    """
    found = Evaluated()
    authors = _baselines(dataset)
    pending = {name: list(uuids) for name, uuids in added.items() if name in authors}
    found.without_baseline = [name for name in added if name not in authors]
    for names in _together(pending):
        solutions = [solution for name in names for solution in authors[name]]
        uuids = [uuid for name in names for uuid in pending[name]]
        command = [
            sys.executable, str(BENCH), "--dataset", str(dataset.root), "--definitions",
            ",".join(names), "--solutions", ",".join(solutions), "--workloads", ",".join(uuids),
            "--output", str(output), "--json",
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            found.problem = f"not done within {timeout_s:g} s"
        else:
            if done.returncode not in (0, 1):
                found.problem = (done.stderr.strip().splitlines() or ["bench.py failed"])[-1]
        for name in names:
            _read(found, output, name, pending[name])
    return found


def _baselines(dataset: Dataset) -> dict[str, list[str]]:
    """The names of the baseline solutions by definition."""
    every = dataset.solutions().items()
    found = {name: [s.name for s in some if s.author in AUTHORS] for name, some in every}
    return {name: names for name, names in found.items() if names}


def _together(pending: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Definitions whose workloads fit one command line."""
    names: list[str] = []
    length = 0
    for name, uuids in pending.items():
        own = sum(len(uuid) + 1 for uuid in uuids)
        if names and length + own > MOST_CHARACTERS:
            yield names
            names, length = [], 0
        names.append(name)
        length += own
    if names:
        yield names


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


def lines(found: Evaluated, dataset: Path) -> list[str]:
    """What a person is told."""
    told = [f"baseline: {name}: {count} PASSED" for name, count in found.passed.items()]
    told += [f"baseline: {name}: {'; '.join(bad[:3])}" for name, bad in found.failed.items()]
    told += [
        f"baseline: {name}: the dataset has no FlashInfer solution of it"
        for name in found.without_baseline
    ]
    if found.without_baseline:
        names = ",".join(found.without_baseline)
        told.append(f"next: python scripts/make_baselines.py --dataset {quote(str(dataset))} "
                    f"--definitions {names}, then this again with --resume")  # fmt: skip
    return [*told, f"error: evaluation: {found.problem}"] if found.problem else told
