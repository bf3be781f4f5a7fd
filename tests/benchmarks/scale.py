#!/usr/bin/env python3
"""Are load, validate and report bounded on 5,000 definitions and a million traces?

Writes a dataset of GEMM definitions with traces as this evaluator writes them (100,000 workloads in
all), at a tenth of the share and at the whole of it. Runs each step in a process of its own and
prints seconds and peak memory (resident set). Ends with 1 where a step takes more than --limit,
fails, or takes more than --growth times the CPU's seconds for ten times the data.

    python tests/benchmarks/scale.py
    python tests/benchmarks/scale.py --share 0.1 --steps load,validate

Seen at the whole, on two cores that others also used, wall seconds and peak: load 150 s, 0.05 GiB;
validate 293 s, 0.32 GiB; html 360 s, 1.45 GiB, a page of 14 MB. At a twentieth, of the processor:
load 2.3 s, validate 5.7 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kernelkit import cli  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.errors import UsageError  # noqa: E402

DEFINITIONS, WORKLOADS, SOLUTIONS, HARDWARE = 5_000, 20, 5, ("GPU A", "GPU B")
SMALLER = 10
SOURCE = "import torch\n\n\ndef run(A, B):\n    return torch.nn.functional.linear(A, B)\n"
LOAD = """
import sys
from kernelkit.dataset.store import Dataset
dataset = Dataset.open(sys.argv[1])
for load in ("definitions", "solutions", "workloads", "traces"):
    for found in getattr(dataset, "load_" + load)():
        assert found.value is not None, found.error
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--share", type=float, default=1.0, metavar="S", help="of the whole (default: 1)")
    add("--steps", type=cli.names, metavar="A,B", help=f"of {', '.join(commands(Path()))}")
    add("--limit", type=float, default=2.0, metavar="GIB", help="peak of a step (default: 2)")
    add("--growth", type=float, default=15.0, metavar="X",
        help="of the CPU's seconds, for ten times the data (default: 15)")  # fmt: skip
    add("--folder", type=Path, metavar="DIR", help="keep the datasets there, and use them again")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    unknown = [step for step in args.steps or () if step not in commands(Path())]
    if unknown or not 0 < args.share <= 1:
        raise UsageError("no such step or share", received=unknown or args.share,
                         allowed=", ".join(commands(Path())) + "; shares up to 1")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = args.folder or Path(temporary)
        rows = [row for share in (args.share / SMALLER, args.share)
                for row in measure(folder, share, args.steps)]  # fmt: skip
    bad = faults(rows, args.limit, args.growth)
    cli.emit({"rows": rows, "faults": bad}, as_json=args.json, text=_text(rows, bad))
    return 1 if bad else 0


def measure(folder: Path, share: float, steps: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Seconds and peak memory in GiB of each step on a dataset of that share."""
    root = folder / f"share-{share:g}"
    if not root.exists():
        write(root, max(1, round(DEFINITIONS * share)))
    for step, command in commands(root).items():
        if not steps or step in steps:
            row = {"step": step, "share": share, **run(command)}
            cli.say(_line(row))
            yield row


def commands(root: Path) -> dict[str, list[str]]:
    """The steps by name."""
    validate = [str(ROOT / "scripts" / "validate_dataset.py"), "--dataset", str(root), "--json"]
    report = [str(ROOT / "scripts" / "report.py"), "--dataset", str(root), "-o"]
    return {
        "load": ["-c", LOAD, str(root)],
        "validate": validate,
        "html": [*report, f"{root}.html"],
        "csv": [*report, f"{root}.csv"],
        "json": [*report, f"{root}.json"],
        "table": [*report, f"{root}.txt"],
    }


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """A Python process to its end: processor and wall seconds, peak resident set in GiB, exit code.

    Growth is judged on the processor's seconds: what else runs here does not stretch them.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return {"seconds": used.ru_utime + used.ru_stime, "wall_seconds": time.perf_counter() - start,
            "peak_gib": used.ru_maxrss * unit / 2**30, "code": process.returncode}  # fmt: skip


def write(root: Path, count: int) -> None:
    """A dataset of that many definitions, with all that belongs to them; it has no fault."""
    from kernelkit.ops import gemm

    dataset = Dataset.create(root)
    for index in range(count):
        definition = gemm.FAMILY.definition(64 * (1 + index % 100), 64 * (1 + index // 100))
        dataset.write_definition(definition)
        workloads = [_workload(index, number) for number in range(WORKLOADS)]
        lines = [{"definition": definition.name, "solution": None, "workload": workload,
                  "evaluation": None} for workload in workloads]  # fmt: skip
        _lines(dataset.workload_path(definition), lines)
        for number in range(SOLUTIONS):
            _solution(dataset, definition, number)
        _lines(dataset.trace_path(definition), list(_traces(definition, workloads)))


def _workload(index: int, number: int) -> dict[str, Any]:
    uuid = f"{index:08x}-0000-4000-8000-{number:012x}"
    return {"uuid": uuid, "axes": {"M": 2 ** (number % 14) + number},
            "inputs": {"A": {"type": "random"}, "B": {"type": "random"}}}  # fmt: skip


def _solution(dataset: Dataset, definition: Definition, number: int) -> None:
    name, author = f"kernel{number}_{definition.name}", f"author{number}"
    document = {
        "name": name, "definition": definition.name, "author": author,
        "spec": {"language": "python", "target_hardware": list(HARDWARE),
                 "entry_point": "main.py::run", "destination_passing_style": False},
        "sources": [{"path": "main.py", "content": SOURCE}],
    }  # fmt: skip
    path = dataset.root.joinpath("solutions", author, definition.op_type, definition.name)
    path.mkdir(parents=True)
    (path / f"{name}.json").write_text(json.dumps(document, indent=2))


def _traces(definition: Definition, workloads: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each solution on each workload and hardware: one in 50 fails."""
    for number in range(SOLUTIONS):
        for at, workload in enumerate(workloads):
            for hardware in HARDWARE:
                failed = (number * WORKLOADS + at) % 50 == 49
                yield {
                    "definition": definition.name, "workload": workload,
                    "solution": f"kernel{number}_{definition.name}",
                    "evaluation": {
                        "status": "RUNTIME_ERROR" if failed else "PASSED",
                        "environment": {"hardware": hardware, "libs": {"torch": "2.9.0"}},
                        "timestamp": f"2026-01-{1 + at:02}T00:{number:02}:00Z",
                        "log": f"solution sha256:{number:016x} on cuda:0\nseed {at}",
                        **({} if failed else _measured(0.01 * (1 + at) / (1 + number / 4))),
                    },
                }  # fmt: skip


def _measured(latency_ms: float) -> dict[str, Any]:
    """Correctness and performance as scripts/bench.py writes them on a GPU."""
    timing = {"method": "gate", "median_ms": latency_ms, "p10_ms": 0.99 * latency_ms,
              "p90_ms": 1.02 * latency_ms, "relative_error": 0.002, "samples": 150,
              "trials_ms": [latency_ms] * 3, "l2": "cold", "host_overhead_ms": 0.01,
              "setup_ms": None}  # fmt: skip
    extra = {"evaluator": "kernelkit", "seed": 1, "trials": 3, "atol": 0.01, "rtol": 0.05,
             "required_matched_ratio": 1.0, "matched_ratio": 1.0, "calls": 60, "verified": 60,
             "outputs": {"C": {"max_abs": 0.01, "max_rel": 0.02, "matched_ratio": 1.0}},
             "isolation": ["own session", "no network", "landlock ABI 4", "seccomp"],
             "timing": timing, "reference_timing": timing,
             "speed_of_light": {"bytes_moved": 1e6, "flops": 1e9, "limit": "memory",
                                "limit_ms": latency_ms / 2}}  # fmt: skip
    correctness = {"max_relative_error": 0.02, "max_absolute_error": 0.01, "extra": extra}
    performance = {"latency_ms": latency_ms, "reference_latency_ms": 0.02,
                   "speedup_factor": 0.02 / latency_ms}  # fmt: skip
    return {"correctness": correctness, "performance": performance}


def _lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def faults(rows: Sequence[dict[str, Any]], limit: float, growth: float) -> list[str]:
    """What breaks a bound."""
    found = [f"{_line(row)}: exit code" for row in rows if row["code"]]
    found += [f"{_line(row)}: above {limit:g} GiB" for row in rows if row["peak_gib"] > limit]
    first = {row["step"]: row for row in reversed(rows)}
    for row in rows:
        times = row["seconds"] / first[row["step"]]["seconds"]
        if times > growth:
            found.append(f"{row['step']}: {times:.1f} times the seconds, above {growth:g}")
    return found


def _line(row: dict[str, Any]) -> str:
    return (f"{row['step']:<9} {row['share']:>7g} of the whole: {row['seconds']:8.1f} s of CPU, "
            f"{row['peak_gib']:6.2f} GiB, exit {row['code']}")  # fmt: skip


def _text(rows: Sequence[dict[str, Any]], bad: Sequence[str]) -> str:
    return "\n".join([*map(_line, rows), *bad] or ["nothing was run"])


if __name__ == "__main__":
    raise SystemExit(main())
