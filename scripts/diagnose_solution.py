#!/usr/bin/env python3
"""Name the cause where a solution's numbers are wrong: cheap tests that tell causes apart.

PATH is a Solution JSON, or a folder with `solution.json` and sources. The solution runs in a
process of its own on small inputs (and a workload's). What comes is held against the definition's
reference, against that scaled, transposed, permuted and rounded, and against a table of mistaken
variants of the op. The hypothesis that explains every wrong element names the cause.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError

EXAMPLES = """examples:
  python scripts/diagnose_solution.py my_kernel --dataset tmp/flashinfer-trace
  python scripts/diagnose_solution.py my_kernel.json --dataset tmp/flashinfer-trace \\
      --device cuda --axes batch_size=4,num_kv_indices=64 --json"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("path", type=Path, metavar="PATH", help="Solution JSON or folder")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="dataset with the definition")
    parser.add_argument("--definition", metavar="NAME",
                        help="which one, for a folder that serves several")
    parser.add_argument("--workload", metavar="UUID", help="examine this workload's inputs, too")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N (default: cpu)")
    parser.add_argument("--axes", type=_axes, default={}, metavar="A=N,B=M",
                        help="variable axes in the place of tiny ones, e.g. batch_size=2")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS",
                        help="limit of the solution's process (default: 300)")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="SECONDS",
                        help="limit of the search for causes (default: 120)")
    return parser
# fmt: on


def _axes(text: str) -> dict[str, int]:
    """`a=2,b=3` as sizes by name."""
    pairs = [part.partition("=") for part in cli.names(text)]
    if not all(name.strip() and value.strip().isdecimal() for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"no axes: {text!r}; expected e.g. batch_size=2,M=7")
    return {name.strip(): int(value) for name, _, value in pairs}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.bench import device
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.doctor.consult import Request, consult
    from kernelkit.solutions.doctor.report import to_document, to_text

    if not (args.timeout > 0 and args.seconds > 0):
        raise UsageError("a limit of time is above 0", allowed="--timeout, --seconds above 0")
    dataset = Dataset.open(args.dataset)
    chosen = device.choose(args.device)
    if len(chosen) > 1:
        raise UsageError("one device at a time", received=args.device)
    request = Request(
        args.path, chosen[0], args.definition, args.workload, args.axes, args.timeout, args.seconds
    )
    diagnosis = consult(dataset, request)
    cli.emit(to_document(diagnosis), as_json=args.json, text=to_text(diagnosis))
    return EXIT_FAILED if diagnosis.faulty else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
