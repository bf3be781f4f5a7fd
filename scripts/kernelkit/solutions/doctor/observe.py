"""Judge the outputs of a case by the evaluator's rules, output by output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit import ops
from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor.cases import Case
from kernelkit.solutions.doctor.matching import Observation

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

INDICES = "topk_indices"  # an indexer's output: rows are sets


def observe(definition: Definition, case: Case, got: Tensors) -> tuple[list[Observation], str]:
    """One observation for each output, and the verdict: "passed", or why not."""
    from kernelkit.bench.judge import rules
    from kernelkit.bench.judge.compare import compare_values
    from kernelkit.dataset.trace import Status

    want, tolerance = case.want or {}, rules.tolerance(definition)
    got, undecided = _decided(definition, case, got)
    present = {name: want[name] for name in want if name in got}
    verdict = rules.judge(definition, got, present, case.inputs, tolerance)
    passed = verdict.status is Status.PASSED
    found = []
    for name, wanted in present.items():
        own, failed = tolerance.each.get(name, tolerance), not passed
        if failed and name != INDICES:
            failed = compare_values(name, got[name], wanted, own).status is not Status.PASSED
        pair = (comparable(name, t, case) for t in (got[name], wanted))
        found.append(Observation(case.name, name, *pair, own, failed, undecided))
    return found, "passed" if passed else verdict.message or verdict.status.value


def comparable(name: str, tensor: torch.Tensor, case: Case) -> torch.Tensor:
    """The tensor itself; rows of indices as membership."""
    if name != INDICES:
        return tensor
    from kernelkit.solutions.doctor.families.indexer import membership

    return membership(case.inputs, tensor)


def _decided(
    definition: Definition, case: Case, got: Tensors
) -> tuple[Tensors, torch.Tensor | None]:
    """The outputs with the reference's rows where right kernels may decide differently, and which
    rows these are."""
    family = ops.family_or_generic(definition.op_type)
    rows = family.undecided_rows(definition, case.inputs)
    if rows is None or not bool(rows.any()):
        return got, None
    mixed = {name: value.clone() for name, value in got.items()}
    for name, value in mixed.items():
        value[rows] = (case.want or {})[name][rows]
    return mixed, rows
