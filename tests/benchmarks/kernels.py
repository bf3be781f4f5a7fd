#!/usr/bin/env python3
"""The fast kernels side by side with what a user would call today, in one run.

For each definition and workload: every contender's outputs are held against the reference, then its
median on a cold L2 is taken (kernelkit's sampler; the host's share of a launch is hidden), with the
percent of what the device can do. Markdown on stdout (JSON with --json), both below --output.
Ends with 1 where one of our kernels is wrong, with 5 where the time did not suffice for all.

    python tests/benchmarks/kernels.py --device cuda:0 --seconds 480 --output out/kernels
    python tests/benchmarks/kernels.py --only gqa_paged,sampling
    python tests/benchmarks/kernels.py --write-dataset out/ds    # for bench.py and tune_solution.py
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cases
import kernel_cases
from kernel_cases import Contender, Workload

from kernelkit import cli
from kernelkit.dataset.atomic import write_text
from kernelkit.dataset.definition import Definition
from kernelkit.errors import EXIT_FAILED, EXIT_OK, EXIT_TIMEOUT, KernelkitError

ITERATIONS, CALL_SECONDS = 30, 1.0
Row = dict[str, Any]


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--device", metavar="D", help="default: the GPU if there is one")
    add("--only", type=cli.names, metavar="A,B", help="definitions with one of these in the name")
    add("--seconds", type=cli.seconds, default=540.0, metavar="S",
        help="begin no further workload after this (default: 540)")  # fmt: skip
    add("--output", type=Path, metavar="DIR", help="write kernels.md and kernels.json here")
    add("--contenders", type=cli.names, metavar="A,B", help="only these, e.g. ours,flashinfer")
    add("--write-dataset", type=Path, metavar="DIR", help="write a dataset instead of measuring")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    chosen = [
        (definition, [*workloads, *kernel_cases.recorded(definition)])
        for definition, workloads in kernel_cases.table()
        if args.only is None or any(part in definition.name for part in args.only)
    ]
    if args.write_dataset is not None:
        return _write_dataset(args.write_dataset, chosen)
    from kernelkit.bench.device import choose

    device = choose(args.device)[0]
    begun, rows, skipped = time.monotonic(), [], []
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        for definition, workloads in chosen:
            runs = Runs(definition, Path(folder), args.contenders)
            for workload in cli.progress(workloads, what=definition.name):
                if time.monotonic() - begun > args.seconds:
                    skipped.append(f"{definition.name} {workload.label}")
                    continue
                rows.append(_measured(definition, workload, runs, device))
                cli.say(line_of(rows[-1]))
    document = {**facts(device), "rows": rows, "means": means(rows), "skipped": skipped,
                "seconds": round(time.monotonic() - begun)}  # fmt: skip
    text = markdown(document)
    if args.output is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        write_text(args.output / "kernels.md", text)
        write_text(args.output / "kernels.json", json.dumps(document, indent=1) + "\n")
    cli.emit(document, as_json=args.json, text=text)
    wrong = any(row["times"].get("ours", {}).get("error") for row in rows)
    return EXIT_FAILED if wrong else EXIT_TIMEOUT if skipped else EXIT_OK


def _measured(definition: Definition, workload: Workload, runs: Runs, device: str) -> Row:
    """Times of all contenders on one workload; where none can be had, the reason is ours: a row
    that fails hides no other."""
    try:
        return measure(definition, workload, runs, device)
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"[:300]}
        return {"definition": definition.name, "op_type": definition.op_type,
                "workload": workload.label, "axes": workload.axes, "limit_us": math.nan,
                "times": {"ours": told}}  # fmt: skip


class Runs:
    """The contenders of a definition, each built once; what fails to build is kept as its error."""

    def __init__(self, definition: Definition, root: Path, only: list[str] | None) -> None:
        from kernelkit.solutions.tuning.trial import load_both

        self.built: dict[str, tuple[Contender, Any, Any]] = {}
        self.errors: dict[str, str] = {}
        for number, each in enumerate(kernel_cases.contenders(definition)):
            if only and each.name not in only:
                continue
            folder = root / definition.name / str(number)
            for source in each.solution.sources:
                path = folder / source.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(source.content, encoding="utf-8")
            try:
                spec = each.solution.spec.model_dump(mode="json")
                self.built[each.name] = (each, *load_both(folder, spec))
            except Exception as error:
                self.errors[each.name] = f"{type(error).__name__}: {error}"[:300]


def measure(definition: Definition, workload: Workload, runs: Runs, device: str) -> Row:
    """Times of all contenders on one workload."""
    from kernelkit.bench.limits import ceilings, cost
    from kernelkit.solutions.tuning import clock, trial

    inputs = workload.inputs(definition, device)
    work = cost.work(definition, workload.axes, inputs)
    known = ceilings.current(device)
    want = trial.expected(definition, inputs)
    flusher = clock.Waiting(device)
    times: dict[str, dict[str, Any]] = {n: {"error": e} for n, e in runs.errors.items()}
    for name, (contender, run, setup) in runs.built.items():
        try:
            prepare(setup, inputs)
            if message := trial.fault(definition, run, inputs, want):
                times[name] = {"error": message}
                continue
            found = clock.timed(lambda run=run: run(*inputs.values()), flusher,
                                ITERATIONS, CALL_SECONDS)  # fmt: skip
        except Exception as error:
            times[name] = {"error": f"{type(error).__name__}: {error}"[:300]}
            continue
        light = work.speed_of_light(found.median_ms, known)
        times[name] = {"us": found.median_ms * 1e3, "p10_us": found.p10_ms * 1e3,
                       "p90_us": found.p90_ms * 1e3, "percent": light.get("percent"),
                       "in_place": contender.in_place}  # fmt: skip
    limit = work.speed_of_light(1.0, known).get("limit_ms", math.nan) * 1e3
    return {"definition": definition.name, "op_type": definition.op_type,
            "workload": workload.label, "axes": workload.axes, "limit_us": limit,
            "times": times}  # fmt: skip


def prepare(setup: Any, inputs: dict[str, Any]) -> None:
    """Call setup with the inputs that it names."""
    import inspect

    if setup is not None:
        setup(**{name: inputs[name] for name in inspect.signature(setup).parameters})


def ratio(row: Row) -> float | None:
    """The best other time over ours; None where one of them is not there."""
    ours = row["times"].get("ours", {}).get("us")
    others = [
        t["us"] for n, t in row["times"].items() if n not in ("ours", "vendored") if "us" in t
    ]
    return min(others) / ours if ours and others else None


def means(rows: list[Row]) -> dict[str, float]:
    """The geometric mean of the ratios of each definition."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if (value := ratio(row)) is not None:
            ratios.setdefault(row["definition"], []).append(value)
    return {n: math.exp(sum(map(math.log, v)) / len(v)) for n, v in ratios.items()}


def line_of(row: Row) -> str:
    """One row as text."""
    parts = [f"{name} {cell(each)}" for name, each in row["times"].items()]
    return f"{row['definition']} {row['workload']}: {', '.join(parts)}"


def cell(each: dict[str, Any]) -> str:
    """Microseconds and percent of the limit."""
    if "error" in each:
        return f"failed ({each['error'].splitlines()[0][:160]})"
    percent = f" ({each['percent']:.0f} %)" if each["percent"] is not None else ""
    return f"{each['us']:.1f} us{percent}"


def markdown(document: dict[str, Any]) -> str:
    """A table for each definition."""
    about = [f"{n} {document[n]}" for n in ("device", "date", "torch", "versions") if document[n]]
    lines = [", ".join(about), "", "Median on a cold L2, percent of the measured limit; the ratio "
             "is the best other's time over ours.", ""]  # fmt: skip
    by_name: dict[str, list[Row]] = {}
    for row in document["rows"]:
        by_name.setdefault(row["definition"], []).append(row)
    for name, rows in by_name.items():
        columns = list(dict.fromkeys(n for row in rows for n in row["times"]))
        mean = document["means"].get(name)
        lines += [f"**{name}**" + (f": {mean:.2f} times" if mean else ""), ""]
        lines += [f"| workload | limit | {' | '.join(columns)} | ratio |",
                  "| --- | --- |" + " --- |" * (len(columns) + 1)]  # fmt: skip
        for row in rows:
            cells = [cell(row["times"][n]).split(" (")[0] if "error" in row["times"].get(n, {})
                     else cell(row["times"][n]) if n in row["times"] else "-"
                     for n in columns]  # fmt: skip
            times = ratio(row)
            last = f"{times:.2f}" if times else "-"
            lines.append(f"| {row['workload']} | {row['limit_us']:.1f} us | "
                         f"{' | '.join(cells)} | {last} |")  # fmt: skip
        lines.append("")
    if document["skipped"]:
        lines.append(f"Not begun in time: {', '.join(document['skipped'])}")
    return "\n".join(lines).rstrip() + "\n"


def facts(device: str) -> dict[str, Any]:
    """Where and when."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from kernelkit.bench.device import hardware

    found = []
    for package in ("triton", "flashinfer-python", "flash-linear-attention"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return {"device": hardware(device), "date": date, "torch": torch.__version__,
            "versions": ", ".join(found)}  # fmt: skip


def _write_dataset(root: Path, chosen: list[tuple[Definition, list[Workload]]]) -> int:
    """Definitions, workloads and all contenders' solutions but those that work in place."""
    made = [cases.Case(d, [w.axes for w in workloads], []) for d, workloads in chosen]
    dataset = cases.write_dataset(root, made)
    for definition, _ in chosen:
        for contender in kernel_cases.contenders(definition):
            if not contender.in_place:
                try:
                    dataset.write_solution(contender.solution, definition)
                except KernelkitError as error:
                    cli.say(f"error: {error}")
    cli.say(f"written: {root}")
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
