#!/usr/bin/env python3
"""Decide whether B is faster than A, the same or slower, against the measured noise.

A and B are two solutions of one --dataset, or two trace files or datasets (before and after).
Rows are matched by definition, workload and hardware; of two files also by solution, unless each
side has only one of a definition. The newest trace of each counts. The rule is printed with the
result. Exit code 0 whatever the verdict, unless --fail-if-slower asks for another.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, KernelkitError

if TYPE_CHECKING:
    from kernelkit.report.against import Comparison, Result

EXAMPLES = """examples:
  python scripts/compare.py old_kernel new_kernel --dataset tmp/flashinfer-trace
  python scripts/compare.py before.jsonl after.jsonl --fail-if-slower
  python scripts/compare.py out/monday out/tuesday --json"""
WIDTH = 44


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("a", metavar="A", help="a solution of the dataset, or a trace file or dataset")
    add("b", metavar="B", help="the same kind; the verdict is about B")
    add("--dataset", type=Path, metavar="DIR", help="the dataset; A and B are solutions of it")
    add("--noise", type=cli.fraction, metavar="F",
        help="noise of traces that tell none, as a fraction (default: they are undecided)")
    add("--min-change", type=cli.fraction, default=0.01, metavar="F",
        help="a smaller change is none, as a fraction (default: 0.01)")
    add("--fail-if-slower", action="store_true",
        help="exit code 1 where B is slower overall, or the noise is not known")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.report import against, sides
    from kernelkit.report.text import clean

    if args.dataset is not None:
        found = sides.of_solutions(Dataset.open(args.dataset), args.a, args.b)
    else:
        found = sides.of_paths(Path(args.a), Path(args.b))
    for place in found.skipped:
        cli.say(f"skipped: {clean(place)}")
    result = against.compare(found.a, found.b, least=args.min_change, assumed_noise=args.noise)
    document = {"a": args.a, "b": args.b, **result.to_json(), "skipped": found.skipped}
    cli.emit(document, as_json=args.json, text=_as_text(result))
    if not args.fail_if_slower:
        return EXIT_OK
    if result.verdict == "undecided":
        raise KernelkitError(
            f"cannot tell whether B is slower: {result.why}", next_step="give --noise"
        )
    return EXIT_FAILED if result.verdict in ("slower", "both failed") else EXIT_OK


def _as_text(result: Result) -> str:
    lines = [_line(one) for one in result.comparisons]
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(result.counts.items()))
    rest = [f"{n} only in {side}" for n, side in ((result.only_a, "A"), (result.only_b, "B")) if n]
    lines += ["", f"rule: {result.rule}", f"workloads: {', '.join([counts, *rest])}"]
    return "\n".join([*lines, f"B is {result.verdict}: {result.why}"])


def _line(one: Comparison) -> str:
    from kernelkit.report.text import axes_text, clean, number, shorten, times

    place = shorten(f"{clean(one.definition)} {axes_text(one.axes)}", WIDTH)
    latencies = f"{number(one.a_ms):>8} ms -> {number(one.b_ms):>8} ms"
    return f"{one.verdict:<11} {place:<{WIDTH}}  {latencies}  {times(one.speedup):>7}  {one.why}"


if __name__ == "__main__":
    raise SystemExit(main())
