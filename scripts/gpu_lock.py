#!/usr/bin/env python3
"""Reserve free GPUs of this host for a command, across users, and give them back when it ends.

A reservation is a lock on a file in a folder that all users share: the kernel drops it when the
last process that holds it ends, so that nothing stays reserved after a crash. A GPU that another
process computes on is passed over. The command sees its GPUs in CUDA_VISIBLE_DEVICES; it and all
it has started are ended with the time, or with this script.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import EXIT_OK, EXIT_TIMEOUT, UsageError

EXAMPLES = """examples:
  python scripts/gpu_lock.py --gpus 2 --exec-timeout 3600 -- python train.py
  python scripts/gpu_lock.py --status"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("--gpus", type=cli.positive_int, default=1, metavar="N", help="how many (default: 1)")
    text = "seconds that the command may run (default: no limit)"
    add("--exec-timeout", type=cli.seconds, metavar="S", help=text)
    text = "seconds to wait for free GPUs (default: 7200; 0: do not wait)"
    add("--wait-timeout", type=cli.not_negative, default=7200.0, metavar="S", help=text)
    text = "MiB in use up to which a GPU counts as idle (default: 1000)"
    add("--idle-memory-mb", type=cli.positive_int, default=1000, metavar="MIB", help=text)
    add("--any-load", action="store_true", help="take GPUs that others compute on, too")
    text = (
        "folder of the locks (default: KERNELKIT_GPU_LOCKS, else one all users of the host share)"
    )
    add("--lock-dir", type=Path, metavar="DIR", help=text)
    add("--status", action="store_true", help="show the GPUs, run nothing")
    add("--dry-run", action="store_true", help="show which GPUs are free for the command now")
    add("command", nargs="*", metavar="-- COMMAND", help="what to run")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the command's exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.capture.gpus import devices, locks

    folder = args.lock_dir or locks.shared_folder()
    visible = devices.visible(devices.find())
    if args.status or args.dry_run:
        return _show(args, locks.states(visible, folder, _idle_mb(args)))
    if not args.command:
        raise UsageError("no command", allowed="gpu_lock.py --gpus N -- COMMAND ...")
    with locks.reserve(
        visible, args.gpus, folder, idle_mb=_idle_mb(args), wait_s=args.wait_timeout, say=cli.say
    ) as taken:
        cli.say(
            f"GPUs {','.join(device.identity for device in taken.gpus)}: {' '.join(args.command)}"
        )
        code, seconds = locks.run(args.command, taken, timeout_s=args.exec_timeout)
    document = {
        "gpus": [vars(device) for device in taken.gpus],
        "exit_code": code,
        "seconds": seconds,
    }
    if code is None:
        cli.say(f"error: the command was ended after {args.exec_timeout:g} s (--exec-timeout)")
    cli.emit(document, as_json=args.json)
    return EXIT_TIMEOUT if code is None else code


def _idle_mb(args: argparse.Namespace) -> float:
    return math.inf if args.any_load else args.idle_memory_mb


def _show(args: argparse.Namespace, states: Sequence[dict[str, object]]) -> int:
    lines = [f"{s['index']}  {s['state']:<8}  {s['name']}  {s['detail']}" for s in states]
    free = [state for state in states if state["state"] == "free"]
    lines.append(f"{len(free)} of {len(states)} GPUs are free")
    document = {"gpus": list(states), "free": len(free), "command": args.command}
    cli.emit(document, as_json=args.json, text="\n".join(lines))
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
