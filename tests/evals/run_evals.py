#!/usr/bin/env python3
"""Have an agent do the skills' tasks, with the playbooks and without, and check what it left.

The agent is any command line; it runs in a copy of the pack in a folder of its own, outside this
repository, and gets the task as {prompt}, or on stdin where the command has no such place.
{folder}, {skill} and {id} are filled, too. What it prints is its answer. Each assertion is decided
by a program; no model judges. results.json and results.md grow with each task.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts")]

from evaluating import cases as all_cases  # noqa: E402
from evaluating import checks, report, trials  # noqa: E402
from evaluating.workspace import MODES, WITH, SetupError  # noqa: E402

from kernelkit import cli  # noqa: E402
from kernelkit.dataset import atomic  # noqa: E402
from kernelkit.errors import (  # noqa: E402  # noqa: E402
    EXIT_FAILED,
    KernelkitError,
    MissingDependencyError,
    NothingSelectedError,
    UsageError,
)

EXAMPLES = """examples:
  python tests/evals/run_evals.py --list
  python tests/evals/run_evals.py --agent-cmd "claude -p {prompt} --permission-mode acceptEdits"
  python tests/evals/run_evals.py --agent-cmd "codex exec {prompt}" --skills track-models
  python tests/evals/run_evals.py --sync"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--agent-cmd", metavar="COMMAND", help="the agent, e.g. 'claude -p {prompt}'")
    what.add_argument("--list", action="store_true", help="list the tasks, run none")
    what.add_argument("--sync", action="store_true", help="write the assertions of evals.json anew from its checks")  # fmt: skip  # noqa: E501
    add("--skills", type=cli.names, metavar="A,B", help="only these skills (default: all)")
    add("--ids", type=cli.positive_ints, metavar="1,2", help="only the tasks of these numbers")
    add("--modes", type=cli.names, metavar="A,B", help="with, without (default: both)")
    add("--repeat", type=cli.positive_int, default=1, metavar="N", help="times each task (default: 1)")  # fmt: skip  # noqa: E501
    add("--timeout", type=cli.seconds, default=900.0, metavar="S", help="limit of one task (default: 900)")  # fmt: skip  # noqa: E501
    add("--jobs", type=cli.positive_int, default=1, metavar="N", help="tasks at a time (default: 1)")  # fmt: skip  # noqa: E501
    add("--output", type=Path, metavar="DIR", help="results and folders, outside this repository (default: a new temporary one)")  # fmt: skip  # noqa: E501
    add("--keep", action="store_true", help="keep the folders that the agents worked in")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int | None:
    chosen = _chosen(args)
    if args.list:
        rows = [{"case": case.name, "prompt": case.prompt} for case in chosen]
        text = "\n".join(f"{row['case']:<32}{row['prompt'][:90]}" for row in rows)
        return cli.emit(rows, as_json=args.json, text=text)
    if args.sync:
        return _sync(args)
    output = _output(args.output)
    about = _about(args, output)
    done: list[trials.Trial] = []
    one = lambda case, mode, number: trials.attempt(  # noqa: E731
        case, mode, number, args.agent_cmd, args.timeout, output, args.keep
    )
    try:
        for trial in trials.run_all(chosen, _modes(args), args.repeat, one, args.jobs):
            done.append(trial)
            _write(output, report.document(done, about))
            cli.say(f"{trial.skill}/{trial.id} {trial.mode}: {trial.passed} of {len(trial.findings)}, {trial.state}")  # fmt: skip  # noqa: E501
    except SetupError as error:
        raise KernelkitError(f"the setup of a task failed: {error}") from None
    result = report.document(done, about)
    cli.emit(result, as_json=args.json, text=report.markdown(result))
    wrong = [t for t in done if t.mode == WITH and not t.is_solved]
    return EXIT_FAILED if wrong else None


def _chosen(args: argparse.Namespace) -> list[all_cases.Case]:
    names = all_cases.skill_names()
    if unknown := sorted(set(args.skills or ()) - set(names)):
        raise UsageError("no such skill", received=", ".join(unknown), allowed=", ".join(names))
    chosen = [case for name in args.skills or names for case in all_cases.cases(name)]
    chosen = [case for case in chosen if args.ids is None or case.id in args.ids]
    if not chosen:
        raise NothingSelectedError("no task has these numbers", received=args.ids)
    return chosen


def _modes(args: argparse.Namespace) -> list[str]:
    modes = args.modes or list(MODES)
    if unknown := sorted(set(modes) - set(MODES)):
        raise UsageError("no such mode", received=", ".join(unknown), allowed=", ".join(MODES))
    return modes


def _output(wanted: Path | None) -> Path:
    output = (wanted or Path(tempfile.mkdtemp(prefix="kernelkit-evals-"))).resolve()
    if output.is_relative_to(all_cases.ROOT):
        raise UsageError(
            "--output lies in the repository, where an agent finds the checks", received=output,
            next_step="name a folder elsewhere",
        )  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    return output


def _about(args: argparse.Namespace, output: Path) -> dict[str, Any]:
    _modes(args)
    try:
        words = shlex.split(args.agent_cmd)
    except ValueError as error:
        raise UsageError(f"--agent-cmd: {error}", received=args.agent_cmd) from None
    if not words or shutil.which(words[0]) is None:
        raise MissingDependencyError("the agent is not on PATH", received=" ".join(words[:1]))
    git = ["git", "-C", str(all_cases.ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    return {
        "agent_cmd": args.agent_cmd, "timeout_s": args.timeout, "repeat": args.repeat,
        "pack_commit": commit, "started": time.strftime("%Y-%m-%d %H:%M %Z"), "output": str(output),
    }  # fmt: skip


def _write(output: Path, result: dict[str, Any]) -> None:
    atomic.write_text(output / "results.json", json.dumps(result, indent=2) + "\n")
    atomic.write_text(output / "results.md", report.markdown(result))


def _sync(args: argparse.Namespace) -> None:
    for skill in args.skills or all_cases.skill_names():
        path = all_cases.evals_file(skill)
        document = json.loads(path.read_text(encoding="utf-8"))
        for entry in document["evals"]:
            entry["assertions"] = [checks.sentence(check) for check in entry["checks"]]
        atomic.write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
