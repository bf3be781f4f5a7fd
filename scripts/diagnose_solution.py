#!/usr/bin/env python3
"""Name the cause where a solution's numbers are wrong: the cheap tests that tell causes apart.

PATH is a Solution JSON, or a folder with `solution.json` and sources. The solution runs in a
process of its own on small inputs (or a workload's); what comes is held against the definition's
reference, the reference's outputs scaled, transposed, permuted and rounded, and a table of
mistaken variants of the op. The hypothesis that explains every wrong element names the cause.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, FormatError, UsageError

if TYPE_CHECKING:
    from kernelkit.dataset.definition import Definition
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.check.target import Target
    from kernelkit.solutions.doctor.report import Diagnosis

EXAMPLES = """examples:
  python scripts/diagnose_solution.py my_kernel --dataset tmp/flashinfer-trace
  python scripts/diagnose_solution.py my_kernel.json --dataset tmp/flashinfer-trace --device cuda \\
      --axes batch_size=4,num_kv_indices=64 --json"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("path", type=Path, metavar="PATH", help="Solution JSON or folder")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="dataset with the definition")
    parser.add_argument("--definition", metavar="NAME",
                        help="which one, for a folder that serves several")
    parser.add_argument("--workload", metavar="UUID",
                        help="examine this workload's inputs, too")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N (default: cpu)")
    parser.add_argument("--axes", type=_axes, default={}, metavar="A=N,B=M",
                        help="variable axes instead of the tiny ones, e.g. batch_size=2")
    parser.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS",
                        help="limit of the solution's process (default: 300)")
    parser.add_argument("--seconds", type=float, default=120.0,
                        help="limit of the search for causes (default: 120)")
    return parser
# fmt: on


def _axes(text: str) -> dict[str, int]:
    """`a=2,b=3` as a dict of sizes."""
    pairs = [part.partition("=") for part in cli.names(text)]
    bad = [name for name, equals, value in pairs if not (name and equals and value.isdecimal())]
    if bad:
        raise argparse.ArgumentTypeError(f"no axes: {text!r}; expected e.g. batch_size=2,M=7")
    return {name.strip(): int(value) for name, _, value in pairs}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.bench import device
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.check import target
    from kernelkit.solutions.doctor.report import to_document, to_text

    if not (args.timeout > 0 and args.seconds > 0):
        raise UsageError("no limit of time", allowed="--timeout and --seconds above 0")
    dataset = Dataset.open(args.dataset)
    paths = target.find(args.path)
    if len(paths) > 1:
        raise UsageError("one solution at a time", received=", ".join(map(str, paths[:5])))
    solution = target.read(paths[0])
    definition = _definition(dataset, solution, args.definition)
    (chosen,) = device.choose(args.device)
    diagnosis = _diagnose(args, dataset, solution, definition, chosen)
    cli.emit(to_document(diagnosis), as_json=args.json, text=to_text(diagnosis))
    return EXIT_FAILED if diagnosis.faulty else EXIT_OK


def _definition(dataset: Dataset, solution: Target, name: str | None) -> Definition:
    """The definition to examine. Raises FormatError, UsageError."""
    if solution.spec is None or not solution.sources:
        text = "; ".join(finding.message for finding in solution.findings)
        raise FormatError(f"{solution.path}: no solution that can run: {text}",
                          next_step="check_solution.py says more")  # fmt: skip
    served = {d.name: d for d in solution.definitions(dataset.definitions())}
    if name is not None and name in served:
        return served[name]
    if name is None and len(served) == 1:
        return next(iter(served.values()))
    raise UsageError(
        "which definition?" if len(served) > 1 else "the dataset lacks the solution's definition",
        received=name or ", ".join(solution.patterns),
        allowed="--definition with one of: " + ", ".join(list(served)[:5]) if served else "",
    )


def _diagnose(
    args: argparse.Namespace, dataset: Dataset, solution: Target, definition: Definition,
    device: str,
) -> Diagnosis:  # fmt: skip
    """Examine it. Raises what the examination raises."""
    from kernelkit.solutions.doctor import cases, examine
    from kernelkit.solutions.doctor.process import Job

    chosen = list(cases.small_cases(definition, args.axes, device))
    if args.workload:
        chosen = [*cases.workload_cases(dataset, definition, args.workload, device), *chosen]
    job = Job(definition, solution.spec, solution.sources_for(definition), device, args.timeout)
    return examine.examine(job, chosen, solution.name, args.seconds)


if __name__ == "__main__":
    raise SystemExit(main())
