#!/usr/bin/env python3
"""From definitions to workloads: run a model in SGLang, record its calls, write them as workloads.

Chooses the model, the parallel sizes and the flags under which SGLang calls the definitions'
kernels, starts an engine (exact decode batches) or a server (prefill, mixed and prefix-sharing
traffic), records, sanitises into the dataset, evaluates the FlashInfer baseline and prepares the
commit. Phases that are done are kept: --resume goes on. With --dump no server is started.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_NOTHING, EXIT_OK

if TYPE_CHECKING:
    from kernelkit.capture.collection.pipeline import Recording, Run
    from kernelkit.capture.sanitize.outcome import Outcome

EXAMPLES = """examples:
  python scripts/collect_workloads.py --dataset DIR --op-type gqa_paged --config FILE --dry-run
  python scripts/collect_workloads.py --dataset DIR --definition-names rmsnorm_h4096 --batch-sizes 1,64
  python scripts/collect_workloads.py --dataset DIR --all --model-path CHECKPOINT --dataset sharegpt.json
  python scripts/collect_workloads.py --dump flashinfer_dumps --dataset DIR --dry-run"""  # noqa: E501


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    from kernelkit.capture.collection import arguments

    parser = cli.parser(__doc__, examples=EXAMPLES)
    arguments.add(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.capture.collection import pipeline

    run = pipeline.resolve(args, cli.say)
    if args.dump is not None:
        return _finish(run, args.dump, None)
    recording = pipeline.prepare(run)
    if args.dry_run:
        document = {**pipeline.document(run, recording), "dry_run": True}
        cli.emit(document, as_json=args.json, text=pipeline.as_lines(document))
        return EXIT_OK
    return _finish(run, pipeline.record(run, recording), recording)


def _finish(run: Run, folder: Path, recording: Recording | None) -> int:
    """Sanitise, evaluate, prepare the commit, report."""
    from kernelkit.capture.collection import pipeline
    from kernelkit.capture.sanitize import outcome as outcomes

    args = run.args
    failed = pipeline.failures(recording) if recording is not None else {}
    for name, why in failed.items():
        cli.say(f"error: {name}: {why}")
    if failed and not pipeline.has_records(folder):
        cli.emit({"failures": failed}, as_json=args.json)
        return EXIT_FAILED
    found, added = pipeline.sanitise(run, folder)
    for line in outcomes.remarks(found):
        cli.say(f"note: {line}")
    document, text = pipeline.report(found, dry_run=args.dry_run)
    document["failures"] = failed
    is_good = not found.failed and not failed
    if recording is not None:
        is_good = _evaluate(run, added, recording, document) and is_good
    _submission(run, found, recording, document, is_good=is_good)
    cli.emit(document, as_json=args.json, text=text)
    if not is_good:
        return EXIT_FAILED
    return EXIT_OK if found.definitions else EXIT_NOTHING


def _evaluate(
    run: Run, added: dict[str, list[str]], recording: Recording, document: dict[str, Any]
) -> bool:
    from kernelkit.capture.collection import evaluation, pipeline

    found = pipeline.evaluate(run, added, recording)
    if found is None:
        return True
    document["evaluation"] = vars(found)
    for line in evaluation.lines(found, run.dataset.root):
        cli.say(line)
    return found.ok


def _submission(
    run: Run,
    found: Outcome,
    recording: Recording | None,
    document: dict[str, Any],
    *,
    is_good: bool,
) -> None:
    from kernelkit.capture.collection import pipeline, submission

    made = pipeline.submission(run, found, recording)
    if made is None or run.args.dry_run:
        return
    document["submission"] = submission.document(made)
    pipeline.keep_text(run, made, recording)
    cli.say(submission.hand_in(made, asked=run.args.submit, is_good=is_good))


if __name__ == "__main__":
    raise SystemExit(main())
