#!/usr/bin/env python3
"""Models from their names to pushed branches, in one command: onboard_model.py through all phases.

For each model a world of its own: bare repositories for everything that is cloned and pushed to, a
`gh` that records, the config in the hub's cache. Then `onboard_model.py --submit` twice, and checks
of what it left: branches, manifest, pull requests, and that the second run changed nothing. Nothing
leaves the machine.

    python tests/gpu/onboarding.py --output out/onboarding --jobs 2 --budget 480 --json

SGLang and FlashInfer must be importable (PYTHONPATH, or --env). With git-lfs (on PATH, or in
--lfs-bin) the tensors go through it; without it they are plain files of the stand-in dataset.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(Path(__file__).parent)]

import onboarding_checks as checks  # noqa: E402
import onboarding_states as states  # noqa: E402
import onboarding_world as worlds  # noqa: E402
from onboarding_world import Case, World  # noqa: E402

from kernelkit import cli  # noqa: E402
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError  # noqa: E402

CONFIGS = ROOT / "tests" / "fixtures" / "configs"
CASES = (
    Case("qwen3moe", CONFIGS / "Qwen__Qwen3-30B-A3B.json"),
    Case("glm45", CONFIGS / "zai-org__GLM-4.5.json", tp=8, ep=8),
)
SCRIPT = ROOT / "scripts" / "onboard_model.py"
# Short passes and few timed calls: the way is tested here, not the figures.
QUICK = (
    "--page-sizes=1", "--collect-arg=--isl=256", "--collect-arg=--osl=8",
    "--collect-arg=--num-prompts=12", "--collect-arg=--batch-sizes=1,8",
    "--collect-arg=--num-batches=1", "--collect-arg=--concurrency=8",
    "--collect-arg=--max-new-workloads=4", "--bench-arg=--warmup-runs=2",
    "--bench-arg=--iterations=10", "--bench-arg=--num-trials=1",
    "--bench-arg=--max-seconds-per-workload=2",
)  # fmt: skip
TIMEOUT = 124
KEEP_BYTES, TAIL_BYTES = 100_000, 8_000


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--output", type=Path, required=True, metavar="DIR")
    add("--models", type=cli.names, metavar="A,B",
        help=f"of {', '.join(case.name for case in CASES)} (default: all)")
    add("--jobs", type=cli.positive_int, default=2, metavar="N", help="models side by side")
    add("--budget", type=cli.seconds, default=480.0, metavar="S", help="seconds in all")
    add("--env", default="current", help="the Python that has SGLang")
    add("--lfs-bin", type=Path, metavar="DIR", help="a folder with git-lfs")
    add("--extra", type=shlex.split, default=[], metavar="ARGS",
        help="more arguments of onboard_model.py, in one text")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    cases = [case for case in CASES if not args.models or case.name in args.models]
    if unknown := set(args.models or ()) - {case.name for case in CASES}:
        raise UsageError("no such model", received=", ".join(sorted(unknown)))
    args.output = args.output.resolve()
    began = time.monotonic()
    worlds.host_sources(args.output, args.env, cases)
    hosting_s = round(time.monotonic() - began, 1)

    def one(case: Case) -> dict[str, Any]:
        found = run_case(args, case, began + args.budget)
        cli.say(f"{case.name}: {len(found['problems'])} problems")
        return found

    with ThreadPoolExecutor(max_workers=args.jobs) as pool:
        results = list(pool.map(one, cases))
    summary = {
        "passed": all(not found["problems"] for found in results),
        "seconds": round(time.monotonic() - began, 1), "hosting_seconds": hosting_s,
        "models": results,
    }  # fmt: skip
    text = json.dumps(summary, indent=2)
    (args.output / "summary.json").write_text(text + "\n", encoding="utf-8")
    keep(args.output, cases)
    cli.emit(summary, as_json=args.json, text=text)
    return EXIT_OK if summary["passed"] else EXIT_FAILED


def run_case(args: argparse.Namespace, case: Case, end: float) -> dict[str, Any]:
    """Both runs of one model, and the checks. What breaks is a problem of this model alone."""
    world = worlds.build(args.output, case, args.lfs_bin)
    lfs = worlds.has_lfs(world.environment)
    found: dict[str, Any] = {"model": case.name, "git_lfs": lfs, "problems": []}
    try:
        first = onboard(world, args, "first", end)
        found["first"] = _told(first)
        if first["exit_code"] != 0:
            found["problems"].append(f"the first run ended with {first['exit_code']}")
        if first["exit_code"] != TIMEOUT:
            _again(world, args, end, found)
    except Exception as error:  # the other model goes on
        found["problems"].append(f"{type(error).__name__}: {error}")
    return found


def _again(world: World, args: argparse.Namespace, end: float, found: dict[str, Any]) -> None:
    """The checks of what the first run left, then the second run."""
    before = states.state(world)
    checked = checks.check(world, jobs=2)
    found["problems"] += checked.pop("problems")
    found |= checked
    second = onboard(world, args, "second", end)
    found["second"] = _told(second)
    found["problems"] += states.differences(before, states.state(world))
    if second["exit_code"] != 0:
        found["problems"].append(f"the second run ended with {second['exit_code']}")


def command(world: World, environment: str, extra: Sequence[str]) -> list[str]:
    """The one command that takes the model through all phases."""
    mirrors = (f"--mirror={n}={world.hosted(n)}"
               for n in ("sglang", "flashinfer", "sgl-cookbook", "flashinfer-trace"))  # fmt: skip
    return [
        sys.executable, str(SCRIPT), "--hf-repo-id", world.case.repo_id, "--target-dir",
        str(world.target), "--manifest", str(world.manifest), *mirrors, "--bench-repo",
        str(world.bench), "--env", environment, "--jobs", "2", "--submit", "--json", *QUICK, *extra,
    ]  # fmt: skip


def onboard(world: World, args: argparse.Namespace, name: str, end: float) -> dict[str, Any]:
    """One run of onboard_model.py: exit code, seconds, its document; the log has times."""
    words = command(world, args.env, args.extra)
    began = time.monotonic()
    limit = max(1.0, end - began)
    with open(world.root / f"{name}.json", "wb") as out:
        process = subprocess.Popen(words, env=world.environment, cwd=world.root, stdout=out,
                                   stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip
        stamping = threading.Thread(target=_stamp, args=(process, world.root / f"{name}.log"),
                                    daemon=True)  # fmt: skip
        stamping.start()
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its engines end themselves
            code = TIMEOUT
            process.wait()
        stamping.join(20)
    seconds = round(time.monotonic() - began, 1)
    try:
        document = json.loads((world.root / f"{name}.json").read_bytes())
    except ValueError:
        document = None
    return {"exit_code": code, "seconds": seconds, "document": document}


def _stamp(process: subprocess.Popen[bytes], log: Path) -> None:
    """Each line of stderr with the second in which it came."""
    began = time.monotonic()
    assert process.stderr is not None
    with open(log, "wb") as file, process.stderr as stream:
        for line in stream:
            text = re.sub(rb".*\r(?=.)", b"", line.rstrip(b"\r\n"))  # a bar's last state
            file.write(b"%7.1f %s\n" % (time.monotonic() - began, text))
            file.flush()


def _told(run: dict[str, Any]) -> dict[str, Any]:
    """A run without the table of kernels, which the manifest has."""
    phases = (run["document"] or {}).get("phases") or {}
    return {"exit_code": run["exit_code"], "seconds": run["seconds"], "phases": phases}


def keep(output: Path, cases: Sequence[Case]) -> None:
    """The small files that tell what happened, in OUTPUT/keep.tar.xz."""
    with tarfile.open(output / "keep.tar.xz", "w:xz") as archive:
        archive.add(output / "summary.json", "summary.json")
        for case in cases:
            for path in sorted(_kept(output / case.name)):
                _add(archive, path, path.relative_to(output).as_posix())


def _kept(root: Path) -> set[Path]:
    """Manifest, its Markdown, texts, calls of gh, logs, recordings' reports, datasets' text."""
    patterns = ("run.json", "run.md", "first.*", "second.*", "bin/*.json*",
                "target/onboard/**/*.md", "target/onboard/**/*.patch", "target/onboard/**/*.log",
                "target/onboard/**/record.json", "target/onboard/**/outcome.json",
                "target/flashinfer-trace/workloads/**/*.jsonl",
                "target/flashinfer-trace/traces/**/*.jsonl",
                "target/flashinfer-trace/tests/**/*.json")  # fmt: skip
    return {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """A file; of a long one, or of a log, the end."""
    limit = TAIL_BYTES if path.suffix == ".log" and "target" in path.parts else KEEP_BYTES
    if path.stat().st_size <= limit:
        archive.add(path, name)
        return
    cut = path.parent / f"{path.name}.tail"
    cut.write_bytes(path.read_bytes()[-limit:])
    archive.add(cut, f"{name}.tail")
    cut.unlink()


if __name__ == "__main__":
    raise SystemExit(main())
