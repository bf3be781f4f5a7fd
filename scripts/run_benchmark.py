#!/usr/bin/env python3
"""Run solutions on a dataset's workloads: verify against the reference, time, write traces.

Each solution runs in a process of its own, on inputs made from the workload and the seed. Outputs
are compared with the reference's, which another process computes. Every pair gives one trace.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.bench import options
from kernelkit.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from kernelkit.bench.selection import Plan
    from kernelkit.dataset.store import Dataset
    from kernelkit.dataset.trace import Trace

EXAMPLES = """examples:
  python scripts/run_benchmark.py --dataset tmp/flashinfer-trace --device cpu
  python scripts/run_benchmark.py --dataset DIR --op-types rmsnorm --max-workloads 2 --resume"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="the dataset")
    parser.add_argument("--definitions", type=cli.names, metavar="A,B", help="only these")
    parser.add_argument("--op-types", type=cli.names, metavar="A,B", help="only these op types")
    parser.add_argument("--solutions", type=cli.names, metavar="A,B", help="only these solutions")
    parser.add_argument("--max-workloads", type=options.positive_int, metavar="N",
                        help="of each definition, only the first N workloads")
    parser.add_argument("--device", help="cpu, cuda or cuda:N (default: cuda if there is one)")
    parser.add_argument("--warmup-runs", type=options.positive_int, default=3, metavar="N",
                        help="untimed calls before the timed ones (default: 3)")
    parser.add_argument("--iterations", type=options.positive_int, default=20, metavar="N",
                        help="timed calls (default: 20)")
    parser.add_argument("--max-seconds-per-workload", type=options.seconds, default=5.0,
                        metavar="S", help="stop timing after this (default: 5)")
    parser.add_argument("--timeout", type=options.seconds, default=120.0, metavar="S",
                        help="kill a process after this (default: 120)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random inputs")
    parser.add_argument("--resume", action="store_true",
                        help="skip pairs that have a trace of the same solution and device")
    parser.add_argument("--dry-run", action="store_true", help="show what would run")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.bench import device, selection
    from kernelkit.bench.evaluation import Settings, run_plan
    from kernelkit.dataset.store import Dataset
    from kernelkit.dataset.trace import Trace

    dataset = Dataset.open(args.dataset)
    chosen = (args.device or "cpu") if args.dry_run else device.choose(args.device)
    plan = selection.plan(dataset, selection.Filters(
        args.definitions, args.op_types, args.solutions, args.max_workloads, args.resume, chosen,
    ))  # fmt: skip
    for note in plan.notes:
        cli.say(f"note: {note}")
    cli.say(f"{plan.pairs} pairs of solution and workload to run on {chosen}, "
            f"{plan.resumed} done before")  # fmt: skip
    if args.dry_run:
        _show_plan(args, plan)
        return EXIT_OK
    settings = Settings(
        device=chosen, warmup=args.warmup_runs, iterations=args.iterations, seed=args.seed,
        max_seconds=args.max_seconds_per_workload, timeout=args.timeout,
    )  # fmt: skip
    done = list(cli.progress(run_plan(dataset, plan, settings), what="running", total=plan.pairs))
    traces = [item for item in done if isinstance(item, Trace)]
    errors = [item for item in done if isinstance(item, str)]
    return _report(args, dataset, traces, errors)


def _show_plan(args: argparse.Namespace, plan: Plan) -> None:
    rows = [
        {"definition": task.definition.name, "workload": task.workload.uuid,
         "axes": task.workload.axes, "solution": solution.name}
        for task in plan.tasks
        for solution in task.solutions
    ]  # fmt: skip
    lines = [f"{row['definition']}  {row['axes']}  {row['solution']}" for row in rows]
    document = {"dry_run": True, "pairs": rows, "resumed": plan.resumed, "notes": plan.notes}
    cli.emit(document, as_json=args.json, text="\n".join(lines))


def _report(
    args: argparse.Namespace, dataset: Dataset, traces: list[Trace], errors: list[str]
) -> int:
    from kernelkit.report import rows, tables

    found = rows.make_rows(traces, dataset.definitions())
    document = {"traces": [trace.to_json() for trace in traces], "errors": errors}
    cli.emit(document, as_json=args.json, text=tables.as_table(found) if found else "")
    for error in errors:
        cli.say(f"error: {error}")
    return EXIT_FAILED if errors or any(not row.passed for row in found) else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
