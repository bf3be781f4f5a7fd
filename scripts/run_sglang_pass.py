#!/usr/bin/env python3
"""Run a model in SGLang for a few steps and see which FlashInfer kernels it calls, in which shapes.

One engine for each TP, EP, page size and variant, on one GPU and without weights: the model's
config.json with one layer of each kind, heads and experts divided as on one rank. FlashInfer's raw
definitions (with a context file for normalize_definitions.py) and our recordings of the calls are
kept. The report holds them against the definitions that the config implies.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_MISSING, EXIT_OK, EXIT_TIMEOUT, NothingSelectedError

if TYPE_CHECKING:
    from kernelkit.capture.host import Host
    from kernelkit.capture.sglang_pass.planning import Plan
    from kernelkit.capture.sglang_pass.running import Capture, PassResult

EXAMPLES = """examples:
  python scripts/run_sglang_pass.py --config config.json --dry-run
  python scripts/run_sglang_pass.py --model-name deepseek-v3 --tp-list 8 --ep-list 8 --jobs 2
  python scripts/run_sglang_pass.py --hf-repo-id Qwen/Qwen3-8B --sglang-arg page_size=1 --resume"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    from kernelkit.capture.sglang_pass import arguments

    parser = cli.parser(__doc__, examples=EXAMPLES)
    arguments.add(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.capture import host as hosts
    from kernelkit.capture.sglang_pass import arguments, session
    from kernelkit.capture.sglang_pass.planning import make_plan
    from kernelkit.models.load import checkpoint_config, load_model

    config = args.config or checkpoint_config(args.weights)
    model = load_model(args.model_name, args.hf_repo_id, config, args.revision)
    host = hosts.find_host(args.env, args.sglang_path)
    versions = hosts.probe(host)
    options = arguments.options(args, model, versions.get("sglang"))
    plan = make_plan(model, options)
    if not plan.passes:
        raise NothingSelectedError("no pass can be run", received="; ".join(plan.notes))
    capture = arguments.capture(args, model.slug)
    for note in plan.notes:
        cli.say(f"note: {note}")
    if args.dry_run:
        return _show(args, plan, capture, host, versions)
    hosts.require(versions)
    about = {"model": model.slug, "emulated": options.emulate}
    results = session.run_all(plan, capture, host, about, arguments.manner(args), cli.say)
    session.write_contexts(plan, capture)
    return _report(args, plan, capture, results)


def _show(
    args: argparse.Namespace,
    plan: Plan,
    capture: Capture,
    host: Host,
    versions: dict[str, Any],
) -> int:
    from kernelkit.capture.sglang_pass.planning import as_document, as_text
    from kernelkit.capture.sglang_pass.running import PROGRAM, variables

    document = {**as_document(plan), "dry_run": True, "sglang": versions.get("sglang")}
    for item, shown in zip(plan.passes, document["passes"], strict=True):
        order = capture.work / "passes" / item.name / "pass.json"
        shown["command"] = [*host.python, str(PROGRAM), str(order)]
        shown["env"] = {**host.env, **variables(item, capture, {**os.environ, **host.env})}
    cli.emit(document, as_json=args.json, text=as_text(document))
    return EXIT_OK


def _report(
    args: argparse.Namespace, plan: Plan, capture: Capture, results: list[PassResult]
) -> int:
    from kernelkit.capture.sglang_pass import diagnosis, report
    from kernelkit.dataset import atomic

    found = report.Found()
    if capture.record is not None:
        found = report.read_recordings(capture.record, plan, capture.work / "expected")
    table = report.rows(plan, results, found)
    document = report.document(plan, results, found, table)
    atomic.write_text(capture.work / "report.json", json.dumps(document, indent=2) + "\n")
    cli.emit(document, as_json=args.json, text=report.text(plan, results, found, table))
    if capture.trace_dump is not None:
        cli.say(f"next: python scripts/normalize_definitions.py --dump-dir {capture.trace_dump} "
                f"--dataset DIR --tags model:{plan.model}")  # fmt: skip
    statuses = {result.status for result in results}
    if diagnosis.NO_DEVICE in statuses:
        return EXIT_MISSING
    if "timeout" in statuses:
        return EXIT_TIMEOUT
    is_complete = not any(row.status == report.MISSING for row in table)
    return EXIT_OK if statuses == {"ok"} and is_complete else EXIT_FAILED


if __name__ == "__main__":
    raise SystemExit(main())
