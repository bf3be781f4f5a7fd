"""What only several calls show: another result for the same inputs, a result of an earlier call,
memory that is read before it is written, a setup that changes the result, the order of arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kernelkit.solutions.doctor import statuses
from kernelkit.solutions.doctor.cases import Case
from kernelkit.solutions.doctor.matching import Observation, differ
from kernelkit.solutions.doctor.observe import comparable, observe
from kernelkit.solutions.doctor.process import Job, Session, run_calls
from kernelkit.solutions.doctor.report import Finding

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]
    Outputs = dict[str, Tensors]

# With one of these, what the numbers look like says nothing more.
DECISIVE = {"non-deterministic", "first-call-differs", "uninitialised-memory",
            "output-not-fully-written", "output-never-written", "result-of-earlier-call",
            "plan-of-earlier-call", "state-between-calls"}  # fmt: skip


def findings(
    job: Job, cases: Sequence[Case], session: Session, outputs: Outputs,
    observations: Sequence[Observation],
) -> list[Finding]:  # fmt: skip
    """All findings of repeated calls."""
    found: list[Finding] = []
    first = cases[0]
    if first.name not in outputs:
        return found
    base = outputs[first.name]
    poisoned = _poisoned(job, first, base, outputs)
    if poisoned and _fresh_nan(base, outputs):
        return poisoned
    found += _unstable(job, first, base, outputs)
    if not found:
        found += poisoned
        found += _stale(job, cases, outputs, observations)
        found += _setup(job, cases, outputs)
    return found


def _differing(job: Job, case: Case, one: Tensors, other: Tensors) -> dict[str, float]:
    """By output, the share of elements in which two results for one case differ, if any do."""
    from kernelkit.bench.judge import rules

    tolerance = rules.tolerance(job.definition)
    found = {}
    for name in set(one) & set(other):
        pair = (comparable(name, t, case) for t in (one[name], other[name]))
        share = float(differ(*pair, tolerance.each.get(name, tolerance)).float().mean())
        if share:
            found[name] = share
    return found


def _unstable(job: Job, case: Case, base: Tensors, outputs: Outputs) -> list[Finding]:
    """The same inputs twice."""
    second = outputs.get("repeat")
    if second is None or not (shares := _differing(job, case, base, second)):
        return []
    evidence = [f"{n}: {share:.1%} of the elements differ" for n, share in shares.items()]
    verdicts = [observe(job.definition, case, o)[1] == "passed" for o in (base, second)]
    if verdicts[0] != verdicts[1]:
        which = "first" if verdicts[1] else "second"
        return [Finding(
            "first-call-differs", f"the {which} call is wrong, the other right, on the same inputs",
            evidence, "look for a buffer or a plan that is kept between calls, and for memory that "
            "is read before it is written",
        )]  # fmt: skip
    return [Finding(
        "non-deterministic", "two calls on the same inputs differ by more than rounding", evidence,
        "look for a race (a missing barrier, a store by two blocks), and for memory that is read "
        "before it is written",
    )]  # fmt: skip


def _fresh_nan(base: Tensors, outputs: Outputs) -> bool:
    """Whether NaN stand in the poisoned call where the two calls before have none."""
    before = [base, outputs.get("repeat", base)]
    return any(
        bool((value.double().isnan() & ~other[name].double().isnan()).any())
        for name, value in outputs["poisoned"].items()
        for other in before
        if name in other and other[name].shape == value.shape
    )


def _poisoned(job: Job, case: Case, base: Tensors, outputs: Outputs) -> list[Finding]:
    """Fresh memory, and passed outputs, filled with NaN."""
    second = outputs.get("poisoned")
    if second is None or not (shares := _differing(job, case, base, second)):
        return []
    evidence = [
        f"{name}: {share:.1%} of the elements change when fresh memory holds NaN, "
        f"{int(second[name].double().isnan().sum())} become NaN"
        for name, share in shares.items()
    ]
    unwritten = not any(bool(value.any()) for value in base.values())  # as they were passed: zeros
    if job.spec.destination_passing_style and unwritten:
        return [Finding(
            "output-never-written", "nothing is written into the outputs that are passed", evidence,
            "`output = ...` only names another tensor: use output.copy_(...), or write from the "
            "kernel",
        )]  # fmt: skip
    if job.spec.destination_passing_style:
        return [Finding(
            "output-not-fully-written", "what the outputs hold before the call shows in the result",
            evidence, "write every element of the outputs, and add nothing to what they held; or "
            "zero them first",
        )]  # fmt: skip
    return [Finding(
        "uninitialised-memory", "the result depends on memory that was never written", evidence,
        "torch.zeros instead of torch.empty, or write every element; mask padding before a "
        "product: 0 * NaN is NaN",
    )]  # fmt: skip


def _stale(
    job: Job, cases: Sequence[Case], outputs: Outputs, observations: Sequence[Observation]
) -> list[Finding]:
    """Other contents in the buffers of the call before."""
    by_name = {case.name: case for case in cases}
    failed = {o.case for o in observations if o.failed}
    first = cases[0].name
    if first != "small" or first in failed or "again" not in failed or "again" not in outputs:
        return []
    case, got = by_name["again"], outputs["again"]
    if not _differing(job, case, got, cases[0].want or {}):
        return [Finding(
            "result-of-earlier-call", "new contents in the same buffers give the old result",
            ["got == reference for the call before"],
            "keep nothing that is keyed by a shape or an address",
        )]  # fmt: skip
    if not _differing(job, case, got, _mixed(job, cases[0], case)):
        return [Finding(
            "plan-of-earlier-call", "a plan made from the index tensors of an earlier call is used",
            ["got == reference with the new values and the old index tensors"],
            "make the plan from the contents in each call, or in setup(), which is called again "
            "when they change",
        )]  # fmt: skip
    alone = run_calls(job, [case], [{"name": "again", "case": "again"}]).answers.get("again")
    if alone is None or alone.error:
        return []
    passing = job.spec.destination_passing_style
    values, _ = statuses.read(alone, job.definition, case.want or {}, passing)
    if observe(job.definition, case, values)[1] != "passed":
        return []
    return [Finding(
        "state-between-calls", "a call is right in a fresh process and wrong behind another call",
        ["the same inputs pass alone and fail behind the first case"],
        "keep nothing from call to call: no counters, no caches keyed by shape or address",
    )]  # fmt: skip


def _mixed(job: Job, old: Case, new: Case) -> Tensors:
    """The reference for the new values and the old index tensors; nothing where it fails."""
    from kernelkit.bench.judge.reference import Reference
    from kernelkit.errors import KernelkitError

    inputs = {
        n: old.inputs[n] if hasattr(v, "dtype") and not v.dtype.is_floating_point else v
        for n, v in new.inputs.items()
    }
    try:
        return Reference(job.definition, 1 << 30).call(inputs)
    except KernelkitError:
        return {}


def _setup(job: Job, cases: Sequence[Case], outputs: Outputs) -> list[Finding]:
    """The same calls with the declared setup before them."""
    by_name = {case.name: case for case in cases}
    for call, name in (("setup", cases[0].name), ("setup_again", "again")):
        if call not in outputs or name not in outputs:
            continue
        if shares := _differing(job, by_name[name], outputs[name], outputs[call]):
            text = ", ".join(f"{n}: {share:.1%} of the elements" for n, share in shares.items())
            return [Finding(
                "setup-changes-result", "run gives another result when setup was called before it",
                [f"{call}: {text}"], "run must give the same with and without setup; setup must "
                "replace everything that it kept from earlier index tensors",
            )]  # fmt: skip
    return []


def other_order(job: Job, cases: Sequence[Case], session: Session) -> Finding | None:
    """Whether arguments in the order of the parameters' names give the right result."""
    count = len(job.definition.inputs)
    order = (session.parameters or [])[:count]
    calls = [{"name": case.name, "case": case.name, "order": order} for case in cases]
    answers = run_calls(job, cases, calls).answers
    passing = job.spec.destination_passing_style
    for case in cases:
        answer = answers.get(case.name)
        if answer is None or answer.error:
            return None
        values, _ = statuses.read(answer, job.definition, case.want or {}, passing)
        if observe(job.definition, case, values)[1] != "passed":
            return None
    return Finding(
        "argument-order", "the parameters stand in another order than the definition's inputs",
        [f"run({', '.join(order)}); with arguments in this order all cases pass"],
        f"arguments come by position: run({', '.join(job.definition.inputs)})",
    )  # fmt: skip
