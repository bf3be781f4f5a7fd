"""Phase 3: baseline solutions, workloads from real calls, and the baselines' evaluation."""

from __future__ import annotations

from collections import Counter

from kernelkit.dataset.definition import Definition
from kernelkit.inventory.manifest import Kernel
from kernelkit.inventory.standing import BASELINE_AUTHORS, count_workloads
from kernelkit.onboarding import evaluation, recording
from kernelkit.onboarding.definitions_of import defined
from kernelkit.onboarding.inventory_phase import kernels_of
from kernelkit.onboarding.run import Result, Run, set_entry
from kernelkit.publish import evidence
from kernelkit.solutions.baselines import writing

State = tuple[str, str, str]  # status, why it is not further, what the traces say
EVALUATED, COLLECTED, FAILED, SKIPPED = "evaluated", "collected", "failed", "skipped"


def work(run: Run, result: Result) -> None:
    """Each kernel ends with a status, and one without workloads says why."""
    if run.dry:
        recording.rehearse(run, result, kernels_of(run))
        return
    notes = _baselines(run, result)
    with result.timing("recording"):
        why = recording.record(run, result)
    with result.timing("evaluation"):
        evaluation.evaluate(run, result)
    _conclude(run, result, notes, why)


def _baselines(run: Run, result: Result) -> dict[str, str]:
    """Write them; what each definition has, or why it has none."""
    outcomes = writing.plan(run.dataset, defined(run), "baseline")
    writing.write(run.dataset, outcomes)
    said: dict[str, str] = {}
    for outcome in outcomes:
        name = outcome.definition.name
        if outcome.action == writing.CONFLICT:
            result.fail(f"{name}: {outcome.note}")
        if outcome.made is not None and outcome.baseline is not None:
            apis = ", ".join(outcome.baseline.calls(outcome.definition))
            said[name] = f"{outcome.made.name} ({apis or outcome.baseline.provider})"
        else:
            said.setdefault(name, f"none: {outcome.note}")
    absent = sum(text.startswith("none") for text in said.values())
    result.tell(f"baselines: {len(said) - absent} solutions, {absent} definitions without")
    return said


def _conclude(run: Run, result: Result, notes: dict[str, str], why: dict[str, str]) -> None:
    """Every kernel's state, read from the dataset."""
    held = run.dataset.definitions()
    asked = {kernel.definition_name for kernel in run.kernels()}
    baselines = _baseline_names(run)
    states = {d.name: _state(run, d, baselines.get(d.name, set()), why) for d in defined(run)}

    def change(kernel: Kernel) -> None:
        name = kernel.definition_name
        if name in states:
            _set(run, kernel, states[name], notes.get(name))
        elif name in asked:
            kernel.phase3_status = SKIPPED
            absent = "the dataset has no such definition"
            set_entry(kernel, "skipped", "3", "phase 2 left it out" if name in held else absent)

    run.update_kernels(change)
    counts = Counter(status for status, _, _ in states.values())
    result.tell(", ".join(f"{n} {status}" for status, n in counts.items()))


def _set(run: Run, kernel: Kernel, state: State, baseline: str | None) -> None:
    status, reason, traces = state
    kernel.phase3_status = status
    kernel.workload_entries = count_workloads(run.dataset, kernel.op_type, kernel.definition_name)
    set_entry(kernel, "phase3", "baseline", baseline)
    set_entry(kernel, "phase3", "traces", traces or None)
    set_entry(kernel, "skipped", "3", reason or None)


def _baseline_names(run: Run) -> dict[str, set[str]]:
    """The names of the baselines by definition."""
    found: dict[str, set[str]] = {}
    for loaded in run.dataset.load_solutions():
        if loaded.value is not None and loaded.value.author in BASELINE_AUTHORS:
            found.setdefault(loaded.value.definition, set()).add(loaded.value.name)
    return found


def _state(run: Run, definition: Definition, names: set[str], why: dict[str, str]) -> State:
    """Read from the workloads and the baselines' traces."""
    wanted = {line.workload.uuid for line in run.dataset.workloads_of(definition)}
    if not wanted:
        return SKIPPED, why.get(definition.name, "no recorded call fits it"), ""
    if not names:
        return COLLECTED, "no baseline solution", ""
    traces = [t for t in run.dataset.traces_of(definition) if t.solution in names]
    if not traces:
        return COLLECTED, why.get("evaluation") or "the baseline was not evaluated", ""
    passed = {t.workload.uuid for t in traces if evidence.is_passed(t)}
    said = f"{len(wanted & passed)} of {len(wanted)} workloads PASSED"
    return (EVALUATED, "", said) if wanted <= passed else (FAILED, said, said)
