#!/usr/bin/env python3
"""Verify and time solutions on a dataset's workloads; write traces.

Each solution runs in a process of its own, locked in, on contents that never repeat; another
process judges every output; on a GPU its times are held against a clock outside of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.bench import options
from kernelkit.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from kernelkit.bench.selection import Plan
    from kernelkit.bench.tools.profile_ncu import ProfileReport
    from kernelkit.dataset.store import Dataset
    from kernelkit.dataset.trace import Trace

EXAMPLES = """examples:
  python scripts/bench.py --dataset tmp/flashinfer-trace --device cpu
  python scripts/bench.py --dataset DIR --op-types rmsnorm --workloads 2 --resume
  python scripts/bench.py --dataset DIR --device all
  python scripts/bench.py --dataset DIR --engine ray --ray-address HOST:6379
  python scripts/bench.py --dataset DIR --solutions mine --baseline theirs --device cuda:0"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    options.add_to(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.bench import engines, selection
    from kernelkit.bench.spread.crew import in_order
    from kernelkit.bench.tools import profiling
    from kernelkit.dataset.store import Dataset

    dataset = Dataset.open(args.dataset)
    target = Dataset.create(args.output) if args.output and not args.dry_run else dataset
    chosen = engines.devices_of(args)
    plan = selection.plan(dataset, selection.Filters(
        args.definitions, args.op_types, args.solutions, args.workloads, args.resume, chosen[0],
        args.baseline,
    ), done_in=target)  # fmt: skip
    for note in plan.notes:
        cli.say(f"note: {note}")
    for refusal in plan.refused:
        cli.say(f"refused: {refusal}")
    cli.say(f"{plan.pairs} pairs of solution and workload to run on {engines.named(args, chosen)}, "
            f"{plan.resumed} done before")  # fmt: skip
    if args.dry_run:
        _show_plan(args, plan)
        return EXIT_OK
    found = engines.run(args, dataset, plan, chosen, target)
    done = list(cli.progress(found, what="running", total=plan.pairs))
    traces, texts = in_order(plan, done)
    errors = [*plan.refused, *texts]
    profiles = profiling.profile(dataset, plan, traces, chosen[0]) if args.profile else {}
    return _report(args, dataset, target, traces, errors, profiles)


def _show_plan(args: argparse.Namespace, plan: Plan) -> None:
    rows = [
        {"definition": task.definition.name, "workload": task.workload.uuid,
         "axes": task.workload.axes, "solution": solution.name}
        for task in plan.tasks
        for solution in task.solutions
    ]  # fmt: skip
    lines = [f"{row['definition']}  {row['axes']}  {row['solution']}" for row in rows]
    document = {"dry_run": True, "pairs": rows, "resumed": plan.resumed, "notes": plan.notes,
                "refused": plan.refused}  # fmt: skip
    cli.emit(document, as_json=args.json, text="\n".join(lines))


def _report(
    args: argparse.Namespace, dataset: Dataset, target: Dataset, traces: list[Trace],
    errors: list[str], profiles: dict[str, ProfileReport],
) -> int:  # fmt: skip
    from kernelkit.report import rows, tables

    definitions = dataset.definitions()
    touched = {trace.definition for trace in traces}
    kept = [loaded.value for loaded in target.load_traces() if loaded.value is not None]
    known = [trace for trace in kept if trace.definition in touched]
    related = rows.relate(rows.make_rows(known, definitions), args.baseline)
    fresh = {(t.definition, t.solution, t.workload.uuid): rank for rank, t in enumerate(traces)}
    found = [row for row in related if (row.definition, row.solution, row.workload) in fresh]
    found.sort(key=lambda row: fresh[row.definition, row.solution, row.workload])
    document = {
        "traces": [trace.to_json() for trace in traces], "errors": errors,
        "profiles": {name: report.to_json() for name, report in profiles.items()},
    }  # fmt: skip
    text = tables.as_table(found) if found else ""
    parts = [text, *(f"{name}: {report.to_text()}" for name, report in profiles.items())]
    cli.emit(document, as_json=args.json, text="\n".join(filter(None, parts)))
    for error in errors:
        cli.say(f"error: {error}")
    return EXIT_FAILED if errors or any(not row.passed for row in found) else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
