"""The examination: run the solution, find what differs, and name the cause that explains it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor import draws, repeats, statuses
from kernelkit.solutions.doctor.cases import DEFAULT, Case
from kernelkit.solutions.doctor.matching import Observation
from kernelkit.solutions.doctor.observe import observe
from kernelkit.solutions.doctor.process import Answer, Job, Session, run_calls
from kernelkit.solutions.doctor.report import Diagnosis, Finding
from kernelkit.solutions.doctor.search import Search

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

MOST_BYTES = 1 << 30  # of reference outputs that are remembered
DEFAULT_NOTE = (
    "with a scale of 0 the result is not the reference's: 0 and None stand for 1 / sqrt(K), as in "
    "scale = scale or K ** -0.5"
)
FIRST = ("repeat", "again", "poisoned", "setup", "setup_again")  # calls beside the cases' own


def examine(job: Job, cases: Sequence[Case], name: str, seconds: float) -> Diagnosis:
    """The diagnosis of a solution over these cases; `seconds` bounds the search for causes.

    Raises ReferenceFailedError where the reference itself fails.
    """
    diagnosis = Diagnosis(name, job.definition.name, job.device)
    _reference(job.definition, cases)
    session = run_calls(job, cases, calls_of(cases, job.definition))
    diagnosis.findings = statuses.load_findings(session)
    if diagnosis.findings:
        return diagnosis
    diagnosis.notes = statuses.notes(session)
    diagnosis.findings = statuses.argument_findings(session, job.definition, job.spec)
    if diagnosis.findings:
        return diagnosis
    diagnosis.findings = statuses.call_findings(session, cases)
    diagnosis.findings += statuses.changed_inputs(session)
    outputs = _outputs(job, cases, session, diagnosis)
    if draws.applies(job.definition):
        draws.examine(job, cases, session, outputs, diagnosis)
    else:
        _examine_values(job, cases, session, outputs, diagnosis, seconds)
    return diagnosis


def calls_of(cases: Sequence[Case], definition: Definition) -> list[dict[str, Any]]:
    """The calls of one process, in order: the first case twice, other contents in the same
    buffers, the other cases, memory filled with NaN, and the declared setup."""
    first, names = cases[0].name, [case.name for case in cases]
    calls: list[dict[str, Any]] = [
        {"name": first, "case": first},
        {"name": "repeat", "case": first},
    ]
    if "again" in names and first == "small":
        calls.append({"name": "again", "case": "again", "into": "repeat"})
    calls += [{"name": n, "case": n} for n in names if n not in [c["name"] for c in calls]]
    calls.append({"name": "poisoned", "case": first, "fill": "poison", "uninitialised": True})
    calls.append({"name": "setup", "case": first, "setup": True})
    if "again" in names:
        calls.append({"name": "setup_again", "case": "again", "into": "setup", "setup": True})
    return calls + draws.calls(cases, definition)


def _reference(definition: Definition, cases: Sequence[Case]) -> None:
    """The reference's outputs for each case."""
    from kernelkit.bench.judge.reference import Reference

    reference = Reference(definition, MOST_BYTES)
    for case in cases:
        case.want = reference.call(case.inputs)


def _outputs(
    job: Job, cases: Sequence[Case], session: Session, diagnosis: Diagnosis
) -> dict[str, Tensors]:
    """Outputs by call; faults of their form become findings, each cause once."""
    wants = {case.name: case.want or {} for case in cases}
    known = {call["name"]: call["case"] for call in calls_of(cases, job.definition)}
    found: dict[str, Tensors] = {}
    causes: dict[str, Finding] = {}
    for name, answer in session.answers.items():
        if answer.error or name == "draws":
            continue
        passing = job.spec.destination_passing_style
        want = wants[known[name]]
        found[name], problems = statuses.read(answer, job.definition, want, passing)
        diagnosis.mended += [name] if problems else []
        for problem in problems:
            known_one = causes.setdefault(problem.cause, problem)
            if name not in FIRST:
                known_one.evidence.append(f"in {name}")
    diagnosis.findings += causes.values()
    return found


def _examine_values(
    job: Job, cases: Sequence[Case], session: Session, outputs: dict[str, Tensors],
    diagnosis: Diagnosis, seconds: float,
) -> None:  # fmt: skip
    observations, default = [], "passed"
    for case in cases:
        if case.name in outputs and outputs[case.name]:
            seen, text = observe(job.definition, case, outputs[case.name])
            if case.name == DEFAULT:
                default = text
                continue
            observations += seen
            mended = ", its form mended" if case.name in diagnosis.mended else ""
            diagnosis.calls[case.name] = text + mended
        elif case.name in session.answers:
            diagnosis.calls[case.name] = _why_none(session.answers[case.name])
    diagnosis.notes += _untested(observations)
    if default != "passed" and not any(o.failed for o in observations):
        diagnosis.notes.append(DEFAULT_NOTE)
    found = repeats.findings(job, cases, session, outputs, observations)
    diagnosis.findings += found
    if any(f.cause in repeats.DECISIVE for f in found):
        return
    if any(o.failed for o in observations):
        _explain(job, cases, session, observations, diagnosis, seconds)


def _explain(
    job: Job, cases: Sequence[Case], session: Session, observations: list[Observation],
    diagnosis: Diagnosis, seconds: float,
) -> None:  # fmt: skip
    if statuses.misordered(session, job.definition):
        if finding := repeats.other_order(job, cases, session):
            diagnosis.findings.append(finding)
            return
    search = Search(job.definition, cases, observations, time.monotonic() + seconds)
    diagnosis.findings += search.run()
    diagnosis.notes += search.notes
    diagnosis.facts = search.facts()
    if not search.explained:
        diagnosis.next_test = search.next_test()


def _untested(observations: Sequence[Observation]) -> list[str]:
    """Outputs whose right values are zero in all cases: nothing can be seen by them."""
    zero = {o.name for o in observations} - {o.name for o in observations if bool(o.want.any())}
    return [f"{name} is zero in all cases: give larger --axes to test it" for name in sorted(zero)]


def _why_none(answer: Answer) -> str:
    return answer.error.splitlines()[-1] if answer.error else "no outputs to compare"
