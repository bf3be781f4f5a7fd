"""Phase 2: what FlashInfer's trace templates say of the definitions, without a GPU."""

from __future__ import annotations

from pathlib import Path

from kernelkit.capture.normalize.model_calls import Agreement, agreements
from kernelkit.capture.normalize.report import sources_of
from kernelkit.capture.normalize.survey import Survey, survey
from kernelkit.dataset.definition import Definition
from kernelkit.errors import DeadlineError, MissingDependencyError, UsageError
from kernelkit.inventory.manifest import Kernel, Manifest
from kernelkit.onboarding.run import Result, Run, mark_of, note_step, set_entry

KEY = "template"


def ask_templates(run: Run, result: Result) -> None:
    """Ask for the derived definitions, unless these were asked of this FlashInfer before."""
    definitions = [variant.definition for variant in run.derivation.variants]
    folder = _folder(run)
    if folder is None:
        _without(run, result, "FlashInfer is not installed: pip install flashinfer-python==0.6.12")
        return
    if not (folder / "flashinfer" / "trace").is_dir():
        _without(run, result, f"the FlashInfer in {folder} has no trace templates")
        return
    mark = mark_of(str(folder), [d.signature() for d in definitions])
    if run.step_done(2, "templates", mark):
        _tell(run, result)
        return
    try:
        found = survey(folder, definitions)
    except (MissingDependencyError, DeadlineError) as error:
        _without(run, result, str(error))
        return
    _record(run, definitions, found, mark)
    _tell(run, result)


def _folder(run: Run) -> Path | None:
    try:
        return sources_of(run.args.flashinfer_path)
    except UsageError:
        return sources_of(None)


def _record(run: Run, definitions: list[Definition], found: Survey, mark: str) -> None:
    rows = {a.definition.name: a for a in agreements(definitions, found, run.model.spec)}

    def change(held: Manifest) -> None:
        for kernel in held.kernels:
            if row := rows.get(kernel.definition_name):
                set_entry(kernel, "phase2", KEY, _said(row))
        note_step(held, 2, "templates", mark)

    run.update(change)


def _said(row: Agreement) -> str:
    return f"{row.state}: {row.text}" if row.text else row.state


def _without(run: Run, result: Result, why: str) -> None:
    """A cross-check that cannot be made leaves the definitions derived, and says so."""
    result.tell(f"templates: not asked: {why}")

    def change(kernel: Kernel) -> None:
        if KEY not in (kernel.phase2 or {}):
            set_entry(kernel, "phase2", KEY, f"not asked: {why}")

    run.update_kernels(change)


def _tell(run: Run, result: Result) -> None:
    said = {k.definition_name: (k.phase2 or {}).get(KEY, "") for k in run.kernels()}
    count = {state: sum(text.startswith(state) for text in said.values())
             for state in ("agrees", "differs", "no template")}  # fmt: skip
    result.tell("templates: " + ", ".join(f"{n} {state}" for state, n in count.items() if n))
    for name, text in said.items():
        if text.startswith("differs"):
            result.fail(f"{name}: FlashInfer's template {text}")
