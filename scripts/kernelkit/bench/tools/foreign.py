"""The same selection through flashinfer-bench, for comparison: its runner, its clock, its verdicts.

Its loader gives up at the first bad file, so that the selection is written to a dataset of its own.
It knows one GPU at a time and no CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from kernelkit import places
from kernelkit.bench.selection import Plan
from kernelkit.bench.settings import Settings
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.errors import KernelkitError, MissingDependencyError, UsageError

OWN_FOLDERS = ("definitions", "solutions", "workloads", "traces")
OPTIONS = {"rtol": "rtol", "atol": "atol", "matched_ratio": "required_matched_ratio"}


def run(dataset: Dataset, plan: Plan, settings: Settings) -> Generator[Trace, None, None]:
    """Run every pair.

    Raises UsageError for a device that is no GPU, MissingDependencyError without the package,
    KernelkitError where it fails.
    """
    if not settings.on_cuda:
        raise UsageError("flashinfer-bench runs on a GPU only", received=settings.device)
    with tempfile.TemporaryDirectory(prefix="kernelkit-") as folder:
        copy = _write(dataset, plan, Path(folder) / "dataset")
        _evaluate(copy, settings, Path(folder))
        for definition in copy.definitions().values():
            yield from copy.traces_of(definition)


def _write(dataset: Dataset, plan: Plan, root: Path) -> Dataset:
    """A dataset with the plan's definitions, workloads and solutions."""
    made = Dataset.create(root)
    for path in dataset.root.resolve().iterdir():
        if path.is_dir() and path.name not in OWN_FOLDERS:
            (root / path.name).symlink_to(path)  # the blobs
    for definition in {task.definition.name: task.definition for task in plan.tasks}.values():
        tasks = [task for task in plan.tasks if task.definition.name == definition.name]
        made.write_definition(definition)
        made.write_workloads(
            definition, [Trace(definition=definition.name, workload=t.workload) for t in tasks]
        )
        for solution in {s.name: s for task in tasks for s in task.solutions}.values():
            made.write_solution(solution, definition)
    return made


def _evaluate(dataset: Dataset, settings: Settings, folder: Path) -> None:
    config = {
        "warmup_runs": settings.warmup,
        "iterations": settings.iterations,
        "num_trials": settings.trials,
        "timeout_seconds": max(1, int(settings.timeout)),
        **{OPTIONS[name]: value for name, value in settings.tolerance.items()},
    }
    number = settings.device.partition(":")[2] or "0"
    environment = {
        **os.environ, "CUDA_VISIBLE_DEVICES": number, "FIB_CACHE_PATH": str(folder / "cache"),
        "PYTHONPATH": places.import_path(),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(dataset.root), json.dumps(config)],
        env=environment, stdout=sys.stderr,
    )  # fmt: skip
    if done.returncode == 3:
        raise MissingDependencyError(
            "flashinfer-bench is not installed", next_step="pip install flashinfer-bench==0.1.2"
        )
    if done.returncode:
        raise KernelkitError("flashinfer-bench failed", received=f"exit code {done.returncode}")


def main(root: str, config: str) -> int:
    """In a process of its own: evaluate the dataset with flashinfer-bench."""
    try:
        from flashinfer_bench.bench import Benchmark, BenchmarkConfig
        from flashinfer_bench.data import TraceSet
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    benchmark = Benchmark(TraceSet.from_path(root), BenchmarkConfig(**json.loads(config)))
    try:
        benchmark.run_all(dump_traces=True)
    finally:
        benchmark.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
