"""The review checklist, computed: what a reviewer would look at before merging.

Three results: pass, fail (something is wrong) and absent (there is nothing to judge, e.g. no
traces without a GPU). A submission needs no fail, and an absent only where that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.tags import fi_api_of
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.validate.findings import ERROR, Finding
from kernelkit.dataset.validate.run import validate
from kernelkit.dataset.workload import RandomInput
from kernelkit.errors import FormatError
from kernelkit.inventory.manifest import Kernel
from kernelkit.inventory.support import UNTAGGED_API
from kernelkit.publish import evidence
from kernelkit.publish.evidence import Evidence

PASS, FAIL, ABSENT = "pass", "fail", "absent"
# Words by which a workload says of itself that nobody recorded it.
_INVENTED = ("synthetic", "generated", "random", "invented")
_FEW = 3


@dataclass(frozen=True)
class Check:
    """One line of the checklist."""

    name: str
    result: str
    text: str

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def review(
    dataset: Dataset, held: Evidence, solutions: Sequence[Solution], kernel: Kernel | None
) -> list[Check]:
    """The checks of a dataset's content, in the order in which a reviewer reads."""
    return [
        _valid(dataset, held),
        _tags(held, kernel),
        _tests(held),
        _recorded(held),
        _provenance(held),
        _baseline(solutions),
        _traces(held, solutions),
    ]


def files_check(name: str, changed: Sequence[str], wanted: Sequence[str]) -> Check:
    """Whether a commit changes what belongs to it, all of it and nothing else."""
    if surplus := sorted(set(changed) - set(wanted)):
        return Check(name, FAIL, f"the branch changes {_some(surplus)}, which is not part of it")
    if lacking := sorted(set(wanted) - set(changed)):
        return Check(name, FAIL, f"the branch lacks {_some(lacking)}")
    what = changed[0] if len(changed) == 1 else f"{len(changed)} files"
    return Check(name, PASS, f"the branch changes {what} and nothing else")


def _valid(dataset: Dataset, held: Evidence) -> Check:
    """The validator's word on the tree as it would be merged. A pointer is not judged: a base is
    checked out without its recorded tensors, and a new one is never a pointer."""
    name = held.definition.name
    found = [f for f in validate(dataset, names=[name]).findings if f.code != "B3"]
    errors = [f for f in found if f.severity == ERROR]
    if errors:
        return Check("valid", FAIL, f"{len(errors)} errors: {_some([_said(f) for f in errors])}")
    left = f", {held.pointers} recorded tensors are pointers and unread" if held.pointers else ""
    return Check("valid", PASS, f"no errors, {len(found)} warnings{left}")


def _said(finding: Finding) -> str:
    return f"{finding.code} {finding.place} {finding.message}"


def _tags(held: Evidence, kernel: Kernel | None) -> Check:
    wrong = list(_tag_faults(held.definition.tags, kernel))
    if wrong:
        return Check("tags", FAIL, "; ".join(wrong))
    return Check("tags", PASS, ", ".join(held.definition.tags))


def _tag_faults(tags: Sequence[str], kernel: Kernel | None) -> Iterator[str]:
    keys = [tag.partition(":")[0] for tag in tags if ":" in tag]
    if keys.count("status") != 1:
        yield f"{keys.count('status')} status: tags; one is wanted"
    if "model" not in keys:
        yield "no model: tag"
    try:
        api = fi_api_of(list(tags))
    except FormatError as error:
        yield str(error)
        return
    untagged = kernel is None or kernel.op_type in UNTAGGED_API
    if api is None and kernel is not None and not untagged and kernel.fi_status == "fi_supported":
        yield f"no fi_api: tag, and FlashInfer has {kernel.fi_api or 'this op'}"


def _tests(held: Evidence) -> Check:
    name = "tests run"
    if not held.has_test:
        return Check(name, ABSENT, "there is no reference test")
    if held.outcome is None:
        return Check(name, ABSENT, "no run of the reference test is recorded")
    if not held.is_outcome_current:
        return Check(name, FAIL, "the definition was changed after its test ran")
    status, counts = held.outcome.get("status"), held.outcome.get("tests") or {}
    told = ", ".join(f"{n} {what}" for what, n in counts.items()) or "no counts"
    device = (held.outcome.get("machine") or {}).get("device", "an unknown device")
    if status == "skipped":
        return Check(name, ABSENT, f"every test was skipped on {device}")
    return Check(name, PASS if status == "passed" else FAIL, f"{told} on {device}")


def _recorded(held: Evidence) -> Check:
    name = "workloads not synthetic"
    if not held.workloads:
        return Check(name, ABSENT, "there are no workloads")
    bad = [line.workload.uuid for line in held.workloads if _is_invented(held, line)]
    if bad:
        return Check(name, FAIL, f"{len(bad)} of {len(held.workloads)} are invented: {_some(bad)}")
    spans = (f"{a} {low}..{high}" for a, (low, high) in evidence.ranges(held.workloads).items())
    return Check(name, PASS, f"{len(held.workloads)} workloads, {', '.join(spans)}")


def _is_invented(held: Evidence, line: Trace) -> bool:
    """It says so, or values that a serving run decides (indices, lengths) are left to chance."""
    source = str(evidence.provenance_of(line).get("source", "")).lower()
    integers = ("int32", "int64")
    chance = (
        name
        for name, spec in held.definition.inputs.items()
        if spec.shape and spec.dtype.value in integers
        and isinstance(line.workload.inputs.get(name), RandomInput)
    )  # fmt: skip
    return any(word in source.split() for word in _INVENTED) or any(chance)


def _provenance(held: Evidence) -> Check:
    if not held.workloads:
        return Check("provenance", ABSENT, "there are no workloads")
    silent = [
        line.workload.uuid
        for line in held.workloads
        if not (evidence.provenance_of(line).get("source") and _model_of(line))
    ]
    if silent:
        text = f"{len(silent)} workloads do not say where they were recorded: {_some(silent)}"
        return Check("provenance", FAIL, text)
    models = sorted({_model_of(line) for line in held.workloads})
    return Check("provenance", PASS, f"recorded from {', '.join(models)}")


def _model_of(line: Trace) -> str:
    return str(evidence.provenance_of(line).get("model") or "")


def _baseline(solutions: Sequence[Solution]) -> Check:
    if not solutions:
        return Check("baseline solution", ABSENT, "no solution by flashinfer or baseline")
    return Check("baseline solution", PASS, ", ".join(solution.name for solution in solutions))


def _traces(held: Evidence, solutions: Sequence[Solution]) -> Check:
    """Every trace of the baselines passed, and every workload has one."""
    name = "traces PASSED"
    names = {solution.name for solution in solutions}
    mine = [trace for trace in held.traces if trace.solution in names]
    if not mine:
        return Check(name, ABSENT, "the baseline has no traces")
    bad = [t for t in mine if not evidence.is_passed(t)]
    if bad:
        verdicts = {f"{t.workload.uuid} {t.evaluation.status.value}" for t in bad if t.evaluation}
        return Check(name, FAIL, f"{len(bad)} of {len(mine)} did not: {_some(sorted(verdicts))}")
    judged = {trace.workload.uuid for trace in mine}
    bare = [w.workload.uuid for w in held.workloads if w.workload.uuid not in judged]
    if bare:
        return Check(name, FAIL, f"{len(bare)} workloads have no trace: {_some(bare)}")
    return Check(name, PASS, f"{len(mine)} traces on {len(held.workloads)} workloads")


def _some(texts: Sequence[str]) -> str:
    rest = f" and {len(texts) - _FEW} more" if len(texts) > _FEW else ""
    return ", ".join(texts[:_FEW]) + rest


def ready(checks: Sequence[Check], *, allow_absent: bool) -> bool:
    """Whether a submission may go out."""
    return all(c.result == PASS or (allow_absent and c.result == ABSENT) for c in checks)
