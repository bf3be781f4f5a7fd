"""How the outputs of an op are judged: by value, as a set of indices, or as random draws.

Most ops go by value (compare). An indexer's rows are sets: order and ties do not count, scores do
(topk). A sampler's tokens are draws: one call shows only whether they may be drawn, many show their
frequencies (draws). Rows of a mixture of experts whose routing is a tie are not compared at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from kernelkit import ops
from kernelkit.bench.judge import topk
from kernelkit.bench.judge.compare import Verdict, check_form, compare, worst
from kernelkit.bench.judge.draws import compare_draws, outside_verdict
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status
from kernelkit.ops.base import Inputs, Tolerance

if TYPE_CHECKING:
    import torch

    from kernelkit.bench.judge.compare import Tensors

MOST_UNDECIDED = 0.5  # of the rows: beyond it ties are what the inputs are about


def tolerance(definition: Definition) -> Tolerance:
    """The family's tolerance; for an op type that no family knows, one by dtype."""
    return ops.family_or_generic(definition.op_type).tolerance(definition)


def changed(base: Tolerance, options: Mapping[str, float | None]) -> Tolerance:
    """`base` with what a user asks for (atol, rtol, matched_ratio; None: as it is), of all outputs.

    What is allowed of an element is allowed of a row and of the whole: a larger rtol or atol widens
    the limits of those by the same factor.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if not chosen:
        return base
    wider = [chosen[n] / vars(base)[n] for n in ("atol", "rtol") if n in chosen and vars(base)[n]]
    factor = max([1.0, *wider])
    limits = {
        name: vars(base)[name] * factor
        for name in ("of_rms", "row_error", "gain_error")
        if vars(base)[name] is not None
    }
    return replace(base, **{**limits, "each": {}, **chosen})


def judge(
    definition: Definition, got: Tensors, want: Tensors, inputs: Inputs, tolerance: Tolerance
) -> Verdict:
    """The verdict on one call's outputs for `inputs`.

    Raises BadReferenceError where the reference's output holds a NaN.
    """
    bad = check_form(got, want)
    if bad.status is not Status.PASSED:
        return bad
    if tolerance.samples:
        return worst([outside_verdict(got[name], inputs) for name in want])
    if topk.applies(definition, inputs):
        return topk.judge(definition, got, want, inputs, tolerance)
    undecided = ops.family_or_generic(definition.op_type).undecided_rows(definition, inputs)
    if undecided is None or not bool(undecided.any()):
        return compare(got, want, tolerance)
    return _decided(got, want, undecided, tolerance)


def judge_draws(got: Tensors, want: Tensors, inputs: Inputs) -> Verdict:
    """The verdict on many draws [draws, rows] of each output against the reference's, for the same
    inputs."""
    return worst([compare_draws(got[name], want[name], inputs) for name in want])


def _decided(got: Tensors, want: Tensors, undecided: torch.Tensor, tolerance: Tolerance) -> Verdict:
    """The verdict on the rows that the inputs decide; the others must only be finite."""
    if float(undecided.float().mean()) > MOST_UNDECIDED:
        return compare(got, want, tolerance)
    for name, value in got.items():
        if not bool(value[undecided].float().isfinite().all()):
            return compare({name: value}, {name: want[name]}, tolerance)
    kept = ~undecided
    verdict = compare(
        {n: v[kept] for n, v in got.items()}, {n: v[kept] for n, v in want.items()}, tolerance
    )
    text = f"{int(undecided.sum())} rows not compared: their routing is a tie"
    return replace(verdict, message="; ".join(filter(None, [verdict.message, text])))
