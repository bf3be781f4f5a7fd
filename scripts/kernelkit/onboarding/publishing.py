"""Phase 4: branches, review, texts, and with --submit the pull requests."""

from __future__ import annotations

import argparse
from collections import Counter

from kernelkit.errors import EXIT_MISSING
from kernelkit.inventory.manifest import Kernel
from kernelkit.onboarding import gpus
from kernelkit.onboarding.definitions_of import is_usable
from kernelkit.onboarding.inventory_phase import kernels_of
from kernelkit.onboarding.run import Result, Run, set_entry
from kernelkit.publish import outcome as outcomes
from kernelkit.publish.session import submit

SKIPPED = "--skip-workload"  # asked for, now or by an earlier run: no answer of phase 3


def work(run: Run, result: Result) -> None:
    """Publish every kernel that is fit; each other one says why it is not."""
    held = run.dataset.definitions()
    kernels = kernels_of(run)
    names = [k.definition_name for k in kernels if is_usable(k, held)]
    if run.dry:
        left = len(kernels) - len(names)
        result.tell(f"{len(names)} definitions would be published as they stand, {left} are not "
                    "in the dataset yet")  # fmt: skip
        return
    _note_left_out(run, set(names), held)
    if not names:
        result.fail("nothing to publish: the dataset has none of the kernels' definitions", 4)
        return
    found = submit(_arguments(run, names))
    _tell(run, result, found)


def _tell(run: Run, result: Result, found: outcomes.Result) -> None:
    unsent: dict[str, str] = {}
    for one in found.outcomes:
        if one.status == outcomes.FAILED:
            wrong = [f"{c.name}: {c.text}" for c in one.checks if c.result == "fail"]
            said = "; ".join([*wrong, *map(str, one.errors)])
            code = EXIT_MISSING if found.exit_code == EXIT_MISSING else 1
            result.fail(f"{one.name}: {said}", code)
        elif run.args.submit and one.status == outcomes.INCOMPLETE:
            absent = ", ".join(c.name for c in one.checks if c.result == "absent")
            unsent[one.name] = f"not submitted, absent: {absent}"
    _explain(run, result, unsent)
    counts = Counter(one.status for one in found.outcomes)
    result.tell(", ".join(f"{n} {status}" for status, n in counts.items()))
    result.tell(f"texts: {run.output / 'prs'}")


def _explain(run: Run, result: Result, unsent: dict[str, str]) -> None:
    """What was not submitted: a failure, unless phase 3 knows why it can have no workloads here."""
    known = {}
    for kernel in run.kernels():
        why = (kernel.skipped or {}).get("3")
        if kernel.definition_name in unsent and why and why != SKIPPED:
            known[kernel.definition_name] = f"{unsent.pop(kernel.definition_name)}: {why}"
    for name, text in unsent.items():
        result.fail(f"{name}: {text} (--allow-incomplete submits)")
    if not known:
        return
    result.tell(f"{len(known)} not submitted, each with its reason in the manifest")
    if waiting := sum(gpus.NONE_HERE in text for text in known.values()):
        result.fail(f"{waiting} not submitted: {gpus.NONE_HERE}; next: phase 3 where there is "
                    "one, or with --dump DIR; or --allow-incomplete", EXIT_MISSING)  # fmt: skip

    def change(kernel: Kernel) -> None:
        if kernel.definition_name in known:
            set_entry(kernel, "skipped", "4", known[kernel.definition_name])

    run.update_kernels(change)


def _note_left_out(run: Run, names: set[str], held: dict) -> None:
    asked = {kernel.definition_name for kernel in run.kernels()}

    def change(kernel: Kernel) -> None:
        name = kernel.definition_name
        if name not in asked:
            return
        why = "the dataset has no such definition" if name not in held else (
            "the dataset has another definition of this name")  # fmt: skip
        set_entry(kernel, "skipped", "4", None if name in names else why)

    run.update_kernels(change)


def _arguments(run: Run, names: list[str]) -> argparse.Namespace:
    """The options of submit_prs.py."""
    args = run.args
    return argparse.Namespace(
        manifest=run.path, definitions=names, dataset=run.dataset.root,
        dataset_repo=args.dataset_repo, bench_repo=args.bench_repo,
        coverage_document="docs/model_coverage.mdx", config=run.config_file(), remote=args.remote,
        hub_repo=args.hub_repo, pr_repo=args.pr_repo, branch_prefix=args.branch_prefix,
        output=run.output / "prs", allow_incomplete=args.allow_incomplete, submit=args.submit,
        dry_run=False,
    )  # fmt: skip
