"""Phase 2: the definitions, what confirms them, their reference tests, and texts for others."""

from __future__ import annotations

from kernelkit import cli
from kernelkit.inventory.manifest import Kernel
from kernelkit.onboarding import confirmation, crosscheck, integration, references, requests
from kernelkit.onboarding.inventory_phase import kernels_of
from kernelkit.onboarding.run import Result, Run, set_entry
from kernelkit.ops import placement
from kernelkit.ops.placement import Outcome, place, write

DEFINED, CONFLICT = "defined", "conflict"
_PARTS = {
    "templates": crosscheck.ask_templates,
    "SGLang pass": confirmation.confirm,
    "reference tests": references.test,
    "requests": requests.write,
    "SGLang suggestions": integration.write,
}


def work(run: Run, result: Result) -> None:
    """Write the definitions, then confirm them. Each part says what it could not do, and why."""
    wanted = {kernel.definition_name for kernel in kernels_of(run)}
    outcomes = list(place(run.dataset, run.derivation.variants, refresh=False))
    outcomes = [outcome for outcome in outcomes if outcome.definition.name in wanted]
    if run.dry:
        _rehearse(result, outcomes)
        return
    write(run.dataset, cli.progress(outcomes, what="definitions", total=len(outcomes)))
    _record(run, result, outcomes)
    for name, part in _PARTS.items():
        with result.timing(name):
            part(run, result)


def _rehearse(result: Result, outcomes: list[Outcome]) -> None:
    said = ", ".join(f"{n} {action}" for action, n in placement.counts(outcomes).items())
    result.tell(f"{len(outcomes)} definitions: {said}; nothing is written")
    result.tell("then: FlashInfer's templates, a SGLang pass where there is a GPU, reference tests")


def _record(run: Run, result: Result, outcomes: list[Outcome]) -> None:
    """Into the manifest. The words do not depend on which run wrote the file."""
    found = {outcome.definition.name: outcome for outcome in outcomes}

    def change(kernel: Kernel) -> None:
        outcome = found.get(kernel.definition_name)
        if outcome is None:
            return
        is_conflict = outcome.action == "conflict"
        kernel.phase2_status = CONFLICT if is_conflict else DEFINED
        why = f"{outcome.note}: {'; '.join(outcome.differences)}" if is_conflict else None
        set_entry(kernel, "skipped", "2", why)

    run.update_kernels(change)
    conflicts = [o.definition.name for o in outcomes if o.action == "conflict"]
    result.tell(f"{len(outcomes) - len(conflicts)} definitions are in {run.dataset.root}")
    for name in conflicts:
        result.fail(f"{name}: the dataset has another definition of this name")
