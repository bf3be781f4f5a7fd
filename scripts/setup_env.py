#!/usr/bin/env python3
"""Make a Python environment for a purpose, from a lock of pins that were seen working.

Without a purpose: which there are, and what was seen with each. The environment is a virtual
environment made by uv where that is there, else by venv and pip. It stands under its path only when
it is whole; a run that was cut off goes on where it stopped; a second run changes nothing. With
--recipe: the same as a Dockerfile or as enroot's commands. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import UsageError

if TYPE_CHECKING:
    from kernelkit.machine.environments.request import Result

EXAMPLES = """examples:
  python scripts/setup_env.py
  python scripts/setup_env.py cpu
  python scripts/setup_env.py gpu-cu13 --path envs/gpu --python python3.12 --dry-run
  python scripts/setup_env.py sglang --recipe dockerfile --output Dockerfile.sglang"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    from kernelkit.machine.environments.installers import NAMES
    from kernelkit.machine.environments.locks import PURPOSES

    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("purpose", nargs="?", choices=PURPOSES, help="; ".join(f"{k}: {v}" for k, v in PURPOSES.items()))  # fmt: skip  # noqa: E501
    add("--path", type=Path, metavar="DIR", help="the environment (default: .venv-PURPOSE)")
    add("--python", metavar="PROGRAM", help="the Python to make it from (default: this one, or one on PATH, that has a lock), or that a recipe is for (default: the newest with a lock)")  # fmt: skip  # noqa: E501
    add("--installer", choices=NAMES, default="auto", help="default: uv where it is on PATH, else pip")  # fmt: skip  # noqa: E501
    add("--timeout", type=cli.seconds, default=3600.0, metavar="S", help="seconds that one step may take (default: 3600)")  # fmt: skip  # noqa: E501
    add("--recipe", choices=("dockerfile", "enroot"), help="make no environment: write a container recipe of the lock")  # fmt: skip  # noqa: E501
    add("--output", type=Path, metavar="FILE", help="where the recipe goes (default: stdout)")
    add("--dry-run", action="store_true", help="say what would be done, write nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int | None:
    if args.output and not args.recipe:
        raise UsageError("--output is for a recipe", next_step="add --recipe, or take --path")
    if args.purpose is None:
        return _list(args)
    return _recipe(args) if args.recipe else _environment(args)


def _list(args: argparse.Namespace) -> None:
    from kernelkit.machine.environments.locks import PURPOSES, available

    if args.recipe or args.path:
        raise UsageError("which purpose?", allowed=", ".join(PURPOSES))
    locks = available()
    lines = [
        f"{lock.purpose:<10}Python {lock.python}  {len(lock.pins)} pins: {PURPOSES[lock.purpose]}"
        + "".join(f"\n{'':10}seen: {text}" for text in lock.head["seen"])
        for lock in locks
    ]
    cli.emit([lock.to_json() for lock in locks], as_json=args.json, text="\n".join(lines))


def _recipe(args: argparse.Namespace) -> None:
    from kernelkit.dataset import atomic
    from kernelkit.machine.environments import interpreters, locks, recipes

    if args.path:
        raise UsageError("--path is not for a recipe", received=args.path)
    known = locks.of_purpose(args.purpose)
    lock = interpreters.choose(known, args.python)[0] if args.python else known[0]
    text = recipes.RECIPES[args.recipe](lock)
    if args.output and not args.dry_run:
        if args.output.is_dir():
            raise UsageError("--output is a folder", received=args.output, allowed="a file")
        atomic.write_text(args.output, text)
    written = str(args.output) if args.output and not args.dry_run else None
    document = {"lock": lock.to_json(), "recipe": args.recipe, "output": written, "text": text}
    cli.emit(document, as_json=args.json, text=f"wrote {written}" if written else text.rstrip())


def _environment(args: argparse.Namespace) -> None:
    from kernelkit.machine.environments import installers, interpreters, making, request
    from kernelkit.machine.environments.locks import of_purpose

    lock, interpreter = interpreters.choose(of_purpose(args.purpose), args.python)
    path = (args.path or Path(f".venv-{args.purpose}")).absolute()
    installer = installers.choose(args.installer)
    wanted = request.Request(lock, interpreter, installer, path, args.timeout)
    result = making.plan(wanted) if args.dry_run else making.make(wanted)
    cli.emit(result.to_json(), as_json=args.json, text=_text(result))


def _text(result: Result) -> str:
    import shlex

    from kernelkit.machine.environments.request import PLANNED
    from kernelkit.places import command

    path = result.request.path
    lines = [f"{path}: {result.state}", *(f"note: {note}" for note in result.notes)]
    if result.state == PLANNED:
        return "\n".join([*lines, *(f"  {shlex.join(step.words)}" for step in result.steps)])
    activate = shlex.quote(str(path / "bin" / "activate"))
    return "\n".join([*lines, f"next: source {activate} && {command('doctor.py')}"])


if __name__ == "__main__":
    raise SystemExit(main())
