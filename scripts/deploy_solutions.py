#!/usr/bin/env python3
"""Write the best passing solution of each definition as a folder that FlashInfer loads.

FlashInfer's Trace Apply (0.7.2 and newer) routes a live call to a solution by the name of the
call's trace. The folder holds one solution for each such name, chosen by the dataset's traces:
right on every workload, fastest over all, sources unchanged since. What has no live call, or a call
that its name does not determine, is left out with the reason. --check calls FlashInfer with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, MissingDependencyError, NothingSelectedError

if TYPE_CHECKING:
    from kernelkit.publish.deploy.choosing import Choice

EXAMPLES = """examples:
  python scripts/deploy_solutions.py --dataset tmp/flashinfer-trace --dry-run
  python scripts/deploy_solutions.py --dataset tmp/flashinfer-trace --output out/apply --check
  FLASHINFER_TRACE_APPLY=1 FLASHINFER_TRACE_APPLY_PATH=out/apply python serve.py"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="dataset with definitions, solutions and traces")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="the folder to write; an earlier deployment there is replaced")
    parser.add_argument("--definitions", type=cli.names, metavar="A,B", help="only these")
    parser.add_argument("--op-types", type=cli.names, metavar="A,B", help="only these op types")
    parser.add_argument("--solutions", type=cli.names, metavar="A,B", help="only these")
    parser.add_argument("--hardware", metavar="NAME",
                        help="device whose traces count (part of its name; default: the only one)")
    parser.add_argument("--check", action="store_true",
                        help="call FlashInfer with the folder: is it routed, and right")
    parser.add_argument("--device", default="cuda:0",
                        help="of --check (default: cuda:0; cpu: functions only, no comparison)")
    parser.add_argument("--timeout", type=float, default=1800.0, metavar="SECONDS",
                        help="limit of --check (default: 1800)")
    parser.add_argument("--dry-run", action="store_true", help="show what would be chosen")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.dry_run and args.output is None:
        parser.error("--output DIR, or --dry-run to look only")
    if args.check and args.dry_run:
        parser.error("--check needs a folder: not with --dry-run")
    return cli.run(parser, _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.publish.deploy import choosing, curated
    from kernelkit.solutions.baselines.writing import select

    if args.check:
        _require(args.device)
    dataset = Dataset.open(args.dataset)
    definitions = select(dataset, args.definitions, args.op_types)
    choices = choosing.choose(
        dataset, definitions, hardware=args.hardware, solutions=args.solutions
    )
    deployed = [choice for choice in choices if choice.solution is not None]
    changed, verdicts = 0, []
    if not args.dry_run and deployed:
        before = curated.held(args.output)
        texts = curated.files(choices, dataset.root.name)
        changed = curated.write(args.output, texts, before)
    if args.check and deployed:
        verdicts = _check(args, deployed)
    rows = [curated.row(choice) for choice in choices]
    document = {"dry_run": args.dry_run, "changed_files": changed, "choices": rows,
                "checks": verdicts}  # fmt: skip
    where = "would be deployed" if args.dry_run else f"deployed in {args.output}"
    text = f"{curated.as_text(choices, verdicts)}\n\n{len(choices)} definitions: "
    cli.emit(document, as_json=args.json, text=f"{text}{len(deployed)} {where}")
    if not deployed:
        raise NothingSelectedError(
            "no definition of the selection has a solution to deploy",
            next_step=f"python scripts/bench.py --dataset {args.dataset} gives solutions their "
            "traces; what is left out otherwise says why above",
        )
    return EXIT_FAILED if any(v["status"] == "FAILED" for v in verdicts) else EXIT_OK


def _require(device: str) -> None:
    from kernelkit.solutions.check.smoke import require

    require(device)
    from importlib.util import find_spec

    if find_spec("flashinfer") is None:
        raise MissingDependencyError(
            "--check needs FlashInfer", next_step="pip install 'flashinfer-python>=0.7.2'"
        )


def _check(args: argparse.Namespace, deployed: Sequence[Choice]) -> list[dict[str, Any]]:
    from kernelkit.publish.deploy import live

    cli.say(f"calling FlashInfer on {args.device}; it compiles at first use")
    return live.check(args.output, deployed, args.device, args.timeout)


if __name__ == "__main__":
    raise SystemExit(main())
