"""The phases in their order, over one manifest, one run at a time."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from kernelkit import cli
from kernelkit.dataset import atomic
from kernelkit.errors import EXIT_FAILED, EXIT_MISSING, EXIT_OK, KernelkitError
from kernelkit.inventory.locks import run_lock
from kernelkit.inventory.manifest import Manifest, PhaseState
from kernelkit.onboarding import (
    definitions,
    evaluation,
    inventory_phase,
    publishing,
    recording,
    repositories,
    summary,
    workloads,
)
from kernelkit.onboarding.run import Result, Run, open_run

Phase = Callable[[Run, Result], None]


@dataclass(frozen=True)
class Step:
    """One phase: what it is called, and what does it."""

    name: str
    work: Phase


STEPS = {
    0: Step("repositories", repositories.work),
    1: Step("inventory", inventory_phase.work),
    2: Step("definitions", definitions.work),
    3: Step("workloads", workloads.work),
    4: Step("publish", publishing.work),
}


@dataclass(frozen=True)
class Onboarding:
    """The results of the phases that were asked for."""

    run: Run
    results: dict[int, Result]

    @property
    def exit_code(self) -> int:
        """1 where something failed, 3 where all that is open lacks something here, else 0."""
        codes = {result.exit_code for result in self.results.values()} - {EXIT_OK}
        if not codes:
            return EXIT_OK
        return next(iter(codes)) if len(codes) == 1 else EXIT_FAILED


def onboard(args: argparse.Namespace) -> Onboarding:
    """Do the phases. One that fails is told, the later ones do what they can without it.

    Raises UsageError without a model and for options that phase 3 would refuse, ConflictError
    where another run holds the manifest.
    """
    recording.require_known(args.collect_arg)
    evaluation.settings_of(args.bench_arg)
    run = open_run(args)
    results: dict[int, Result] = {}
    with nullcontext() if args.dry_run else run_lock(run.path):
        for number in cli.progress(args.phases, what="phases", total=len(args.phases)):
            cli.say(f"phase {number}: {STEPS[number].name}")
            results[number] = _one(run, number, results)
        if not args.dry_run:
            text = summary.as_markdown(run.manifest)
            atomic.write_text(run.path.with_suffix(".md"), text)
    return Onboarding(run, results)


def _one(run: Run, number: int, earlier: dict[int, Result]) -> Result:
    result = Result()
    try:
        if (open_phase := _waits_for(run, number, earlier)) is not None:
            result.fail(f"waits for phase {open_phase}", earlier[open_phase].exit_code)
        else:
            with result.timing("all"):
                STEPS[number].work(run, result)
    except KernelkitError as error:
        result.fail_with(error)
    for line in result.lines:
        cli.say(f"  {line}")
    for text, code in result.problems:
        cli.say(f"  {'missing' if code == EXIT_MISSING else 'error'}: {text}")
    if not run.dry:
        run.update(lambda held: _record(held, number, result))
    return result


def _waits_for(run: Run, number: int, earlier: dict[int, Result]) -> int | None:
    """The phase of this run that failed to bring what this one works on; None: it is there."""
    failed = [n for n, result in earlier.items() if result.exit_code and n < number]
    if 0 in failed and not run.args.create and not run.dataset_folder.is_dir():
        return 0
    if 1 in failed and not run.dry and not run.manifest.kernels:
        return 1
    return None


def _record(held: Manifest, number: int, result: Result) -> None:
    states = dict(held.phases or {})
    before = states.get(str(number))
    made = PhaseState(status=result.status)
    if result.problems:
        made.problems = [text for text, _ in result.problems]
    if before is not None and before.steps:
        made.steps = before.steps
    held.phases = dict(sorted({**states, str(number): made}.items()))
