"""Phase 3: the baselines on the workloads. A pair that has its trace is not run again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from kernelkit import cli
from kernelkit.bench import device, fleet, options, selection
from kernelkit.bench.settings import Settings
from kernelkit.dataset.trace import Trace
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.inventory.standing import BASELINE_AUTHORS
from kernelkit.onboarding import gpus
from kernelkit.onboarding.definitions_of import defined
from kernelkit.onboarding.run import Result, Run

_HOW = ("warmup_runs", "iterations", "num_trials", "max_seconds_per_workload", "timeout", "rtol",
        "atol", "required_matched_ratio", "seed", "cuda_graph")  # fmt: skip


def evaluate(run: Run, result: Result) -> None:
    """On the GPU, or on the device that --device names; traces go into the dataset."""
    if run.args.skip_workload:
        return
    settings = settings_of(run.args.bench_arg)
    if run.args.device is None and not gpus.has_gpu():
        result.tell(f"evaluation: not run: {gpus.NONE_HERE}")
        return
    definitions = {d.name: d for d in defined(run)}
    names = [
        s.name for s in (loaded.value for loaded in run.dataset.load_solutions())
        if s is not None and s.author in BASELINE_AUTHORS and s.definition in definitions
    ]  # fmt: skip
    devices = device.choose(run.args.device)
    try:
        plan = selection.plan(run.dataset, selection.Filters(
            list(definitions), None, names, None, True, devices[0]))  # fmt: skip
    except NothingSelectedError as error:
        result.tell(f"evaluation: {error}")
        return
    result.tell(f"evaluation: {plan.pairs} to run on {', '.join(devices)}, {plan.resumed} before")
    found = fleet.run(run.dataset, plan, settings, devices, run.dataset) if plan.pairs else ()
    for item in cli.progress(found, what="evaluating", total=plan.pairs):
        if not isinstance(item, Trace):
            result.fail(item)
        elif item.evaluation is not None and item.evaluation.status.value != "PASSED":
            result.fail(f"{item.solution} on {item.workload.uuid}: {item.evaluation.status.value}")
    for text in plan.refused:
        result.fail(text)


def settings_of(words: Sequence[str]) -> Settings:
    """Settings from options of bench.py. Raises UsageError for one that says what is run."""
    plain = _parsed(())
    asked = _parsed(words)
    chosen = [name for name, value in vars(asked).items() if value != getattr(plain, name)]
    if other := [name for name in chosen if name not in _HOW]:
        raise UsageError("--bench-arg takes only what says how it is measured", received=other[0],
                         allowed=", ".join(_HOW))  # fmt: skip
    return options.settings_of(asked)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = cli.parser("an evaluation")
    options.add_to(parser)
    return parser.parse_args(["--dataset", ".", *words])
