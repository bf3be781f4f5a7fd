#!/usr/bin/env python3
"""Measure what a device can do at most, and keep it: the ceilings that results are held against.

Memory bandwidth (copy, read, fill), matrix products by element type, and the time of an empty
window between two events. Kept below XDG_CACHE_HOME (else ~/.cache) by GPU, driver and torch
version; the evaluator reads the same file. Measure on an idle device.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelkit import cli

if TYPE_CHECKING:
    from kernelkit.bench.limits.ceilings import Ceilings

EXAMPLES = """examples:
  python scripts/measure_device.py
  python scripts/measure_device.py --device cuda:0 --refresh --json"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument(
        "--device", metavar="D", help="cpu, cuda, cuda:N or all (default: the GPU if there is one)"
    )
    parser.add_argument("--refresh", action="store_true", help="measure although figures are kept")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what is kept and what would be measured"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> None:
    from kernelkit.bench.device import choose

    done = [_one(device, args) for device in choose(args.device)]
    text = "\n".join(text for _, text in done)
    documents = [document for document, _ in done]
    cli.emit({"dry_run": args.dry_run, "devices": documents}, as_json=args.json, text=text)


def _one(device: str, args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """One device's document and text."""
    from kernelkit.bench.limits import ceilings
    from kernelkit.bench.limits.device_facts import identify

    key = ceilings.device_key(*identify(device))
    path, kept = ceilings.cache_path(key), ceilings.load(key)
    again = args.refresh or kept is None
    if args.dry_run:
        document = {"device": device, "path": str(path), "would_measure": again}
        return document, f"{'would measure' if again else 'kept'}: {device}, {path}"
    if again:
        cli.say(f"measuring {device}")
    found = ceilings.current(device, refresh=args.refresh)
    written = ceilings.load(key) == found
    if not written:
        cli.say(f"warning: {path} cannot be written; the next run measures again")
    place = str(path) if written else None
    return {**found.to_json(), "path": place, "measured_now": again}, _table(found)


def _table(found: Ceilings) -> str:
    """Figures with their spread and method, then what is absent, then facts."""
    lines = [f"{found.name}, driver {found.driver}, torch {found.torch}, {found.measured_at}"]
    for name, figure in found.figures.items():
        value, unit = figure.value, figure.unit
        if unit == "TFLOP/s" and value < 1:
            value, unit = value * 1e3, "GFLOP/s"
        lines.append(
            f"{name:>13} {value:9.4g} {unit:8} +-{50 * figure.spread:.1f} %  {figure.method}"
        )
    lines += [f"{name:>13} absent: {reason}" for name, reason in found.absent.items()]
    lines += [f"{name:>18}: {value}" for name, value in found.facts.items()]
    limit = found.limit_bytes_per_s / 1e9
    lines.append(f"  no program is taken to pass {limit:.0f} GB/s")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
