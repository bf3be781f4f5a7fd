#!/usr/bin/env python3
"""Everything that needs SGLang on a GPU, in one command: passes, definitions, workloads, overhead.

For each model: run_sglang_pass, normalize_definitions over what it dumped, sanitize_dumps over what
it recorded, bench.py with the baselines on those workloads, and whether the reports agree with the
config. Then the recorder's overhead. Models run
side by side (--jobs); no new one is begun when less than --reserve seconds of --budget are left.
Small recordings are copied to OUTPUT/keep, for the fixtures of the CPU tests.

    python tests/gpu/sglang_passes.py --output out/gpu --budget 560 --jobs 5
    python tests/gpu/sglang_passes.py --output out/gpu --models llama,dsv3 --skip-overhead

SGLang and FlashInfer must be importable (PYTHONPATH, or --env). Kernels that FlashInfer compiled
stay in ~/.cache/flashinfer: keep that folder between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kernelkit import cli  # noqa: E402
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError  # noqa: E402

CONFIGS = ROOT / "tests" / "fixtures" / "configs"
KEEP_BYTES = 200_000


@dataclass(frozen=True)
class Case:
    """A model at its parallel sizes."""

    name: str
    config: str
    tp: str = "1"
    ep: str = "1"
    more: tuple[str, ...] = ()
    level10: bool = False  # record at level 10 in the same run, and compare the workloads


CASES = (
    Case("llama", "meta-llama__Llama-3.1-8B"),
    Case("llama10", "meta-llama__Llama-3.1-8B", more=("--variants", "base"), level10=True),
    Case("dsv3", "deepseek-ai__DeepSeek-V3", "8", "8"),
    Case("qwen3moe", "Qwen__Qwen3-30B-A3B", "1,4"),
    Case("qwen3next", "Qwen__Qwen3-Next-80B-A3B-Instruct", "2"),
    Case("nemotronh", "nvidia__Nemotron-H-56B-Base-8K", "8"),
    Case("gemma2", "google__gemma-2-9b"),
    Case("mistral", "mistralai__Mistral-Nemo-Instruct-2407"),
    Case("falconh1", "tiiuae__Falcon-H1-7B-Instruct"),
    Case("qwen3fp8", "Qwen__Qwen3-30B-A3B-FP8", more=("--quantization", "config")),
)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--models", type=cli.names, metavar="A,B",
                        help=f"of {', '.join(case.name for case in CASES)}")  # fmt: skip
    parser.add_argument("--configs", type=Path, metavar="DIR",
                        help="more configs (default: data/model_configs of "
                        "KERNELKIT_EXTRA_DATA)")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=5, metavar="N", help="side by side")
    parser.add_argument("--budget", type=float, default=1500.0, metavar="S", help="seconds in all")
    parser.add_argument("--reserve", type=float, default=150.0, metavar="S",
                        help="left for the overhead benchmark (default: 150)")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=420.0, metavar="S", help="of one pass")
    parser.add_argument("--env", default="current", help="the Python that has SGLang")
    parser.add_argument("--skip-overhead", action="store_true")
    parser.add_argument("--overhead-arguments", default="", metavar="TEXT")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    cases = [case for case in CASES if not args.models or case.name in args.models]
    if unknown := set(args.models or ()) - {case.name for case in CASES}:
        raise UsageError("no such model", received=", ".join(sorted(unknown)))
    end = time.monotonic() + args.budget
    args.output = args.output.resolve()
    args.output.mkdir(parents=True, exist_ok=True)

    def one(case: Case) -> dict[str, Any]:
        left = end - args.reserve - time.monotonic()
        if left <= 0:
            return {"model": case.name, "status": "not begun: the budget is spent"}
        found = run_case(args, case, left)
        cli.say(f"{case.name}: {found['status']}")
        _write(args.output / f"{case.name}.json", found)
        return found

    with ThreadPoolExecutor(max_workers=args.jobs) as pool:
        results = list(pool.map(one, cases))
    overhead = None if args.skip_overhead else run_overhead(args, end - time.monotonic())
    document = {"models": results, "overhead": overhead}
    _write(args.output / "summary.json", document)
    cli.emit(document, as_json=args.json, text=_text(results, overhead))
    is_good = all(found["status"] == "ok" for found in results)
    return EXIT_OK if is_good and (overhead is None or overhead.get("passed")) else EXIT_FAILED


def run_case(args: argparse.Namespace, case: Case, left: float) -> dict[str, Any]:
    """Passes, normalising, sanitising and evaluating of one model."""
    folder = args.output / case.name
    config = find_config(args, case)
    if config is None:
        return {"model": case.name, "status": f"skipped: no config {case.config}"}
    started = time.monotonic()
    steps = {
        "pass": [
            "run_sglang_pass.py", "--config", config, "--model-name", case.name, "--tp-list",
            case.tp, "--ep-list", case.ep, "--output", folder, "--keep-going", "--env", args.env,
            "--timeout", args.timeout, "--json", *case.more,
            *(("--level10", folder / "level10") if case.level10 else ()),
        ],
        "normalize": [
            "normalize_definitions.py", "--dump-dir", folder / "trace_dump", "--dataset",
            folder / "dataset", "--create", "--config", config, "--tags", f"model:{case.name}",
            "--json",
        ],
        "sanitize": [
            "sanitize_dumps.py", "--dump-dir", folder / "record", "--dataset",
            folder / "expected", "--json",
        ],
        "baselines": ["make_baselines.py", "--dataset", folder / "expected", "--all", "--json"],
        "evaluate": [
            "bench.py", "--dataset", folder / "expected", "--device", "cuda:0", "--warmup-runs",
            "2", "--iterations", "5", "--num-trials", "1", "--json",
        ],
    }  # fmt: skip
    found: dict[str, Any] = {"model": case.name, "status": "ok"}
    for name, command in steps.items():
        done = script(command, max(10.0, left - (time.monotonic() - started)))
        found[name] = done
        if done["exit_code"] != 0 and found["status"] == "ok":
            found["status"] = f"{name} ended with {done['exit_code']}"
    if case.level10 and (folder / "expected").is_dir():
        found["recorders"] = compare_recorders(folder)
        if not found["recorders"]["agree"]:
            found["status"] = "recorder and level 10 differ"
    found["seconds"] = round(time.monotonic() - started, 1)
    keep_recordings(folder, args.output / "keep" / case.name)
    return found


def compare_recorders(folder: Path) -> dict[str, Any]:
    """All workloads of the same run, from the recordings and from the level-10 folders."""
    uuids: dict[str, set[str]] = {}
    for name in ("record", "level10"):
        dataset = folder / f"workloads-{name}"
        shutil.copytree(folder / "expected" / "definitions", dataset / "definitions")
        script(["sanitize_dumps.py", "--dump-dir", folder / name, "--dataset", dataset,
                "--max-new-workloads", "0", "--per-axes", "0", "--json"], 300)  # fmt: skip
        rows = [json.loads(line) for path in dataset.rglob("workloads/*/*.jsonl")
                for line in path.read_text(encoding="utf-8").splitlines()]  # fmt: skip
        uuids[name] = {f"{row['definition']}:{row['workload']['uuid']}" for row in rows}
    both = uuids["record"] & uuids["level10"]
    return {
        "agree": uuids["record"] == uuids["level10"] and bool(both),
        "both": len(both),
        "recorder_only": sorted(uuids["record"] - both)[:10],
        "level10_only": sorted(uuids["level10"] - both)[:10],
        "bytes": {name: _size(folder / name) for name in uuids},
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def find_config(args: argparse.Namespace, case: Case) -> Path | None:
    """The config, from --configs, the extra data, or the fixtures."""
    extra = os.environ.get("KERNELKIT_EXTRA_DATA")
    folders = [args.configs, Path(extra) / "data" / "model_configs" if extra else None, CONFIGS]
    paths = [folder / f"{case.config}.json" for folder in folders if folder is not None]
    return next((path for path in paths if path.is_file()), None)


def script(command: Sequence[object], timeout_s: float) -> dict[str, Any]:
    """Run a script with --json: exit code, seconds, its document, the end of stderr."""
    words = [sys.executable, str(ROOT / "scripts" / str(command[0])), *map(str, command[1:])]
    started = time.monotonic()
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s)
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        code, out = 124, ""
        err = (error.stderr or b"").decode("utf-8", "replace") if error.stderr else "timeout"
    try:
        document = json.loads(out)
    except ValueError:
        document = None
    seconds = round(time.monotonic() - started, 1)
    return {"exit_code": code, "seconds": seconds, "document": document, "stderr": err[-3000:]}


def keep_recordings(folder: Path, keep: Path) -> None:
    """Small recordings, contexts and logs of failed attempts, by pass."""
    chosen = [*folder.glob("record/*/*.kkrec"), *folder.glob("trace_dump/*/*.json*"),
              *folder.glob("passes/*/*.log"), *folder.glob("passes/*/*.json")]  # fmt: skip
    for path in chosen:
        target = keep / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.stat().st_size <= KEEP_BYTES:
            shutil.copy2(path, target)
        elif path.suffix == ".log":
            target.write_text(path.read_text(encoding="utf-8", errors="replace")[-20_000:])


def run_overhead(args: argparse.Namespace, left: float) -> dict[str, Any]:
    """The recorder's benchmark in what is left of the budget."""
    path = ROOT / "tests" / "benchmarks" / "recorder_overhead.py"
    words = [sys.executable, str(path), "--json", "--env", args.env, "--output",
             str(args.output / "overhead"), *args.overhead_arguments.split()]  # fmt: skip
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=max(10.0, left))
    except subprocess.TimeoutExpired:
        return {"passed": False, "error": f"not done within {left:.0f} s"}
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"passed": False, "error": done.stderr[-2000:]}


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _text(results: Sequence[dict[str, Any]], overhead: dict[str, Any] | None) -> str:
    lines = []
    for found in results:
        counts = ((found.get("pass") or {}).get("document") or {}).get("counts", {})
        told = ", ".join(f"{n} {status}" for status, n in counts.items())
        lines.append(f"{found['model']}: {found['status']} in {found.get('seconds', 0)} s; {told}")
    return "\n".join([*lines, f"overhead: {json.dumps(overhead)}"])


if __name__ == "__main__":
    raise SystemExit(main())
