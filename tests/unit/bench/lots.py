"""Twelve calls to judge at once: what is expected of them, and answers near to it."""

from __future__ import annotations

import math

import torch

from kernelkit.bench.judge import rules
from kernelkit.bench.judge.lot import Found, Judge, Lot
from kernelkit.dataset.definition import Definition
from kernelkit.ops import gqa_paged, rmsnorm
from kernelkit.ops.base import generator

CALLS, ROWS, WIDTH, BAD = 12, 16, 64, 7
NORM = rmsnorm.FAMILY.definition(WIDTH, 1e-5)
DECODE = gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False)
ALL = list(range(CALLS))
NONE = torch.zeros(0)
Tensors = dict[str, torch.Tensor]


def want_of(definition: Definition = NORM, *, empty: bool = False) -> Tensors:
    """What is expected: of a norm, or of a decode whose request 3 may have no tokens."""
    rng = generator(1, "want")
    if definition is NORM:
        return {"output": torch.randn(CALLS, ROWS, WIDTH, generator=rng).bfloat16()}
    output = torch.randn(CALLS, 8, 4, 16, generator=rng).bfloat16()
    lse = torch.randn(CALLS, 8, 4, generator=rng)
    if empty:
        output[:, 3], lse[:, 3] = 0.0, -math.inf
    return {"output": output, "lse": lse}


def judged(
    got: Tensors, want: Tensors, definition: Definition = NORM, *, full: list[int] = ALL,
    distance: list[int] | None = None,
) -> Found:  # fmt: skip
    """The verdict on calls of which those in `full` are judged in every respect."""
    judge = Judge(definition, rules.tolerance(definition))
    return judge.judge(Lot(got, want, lambda number: {}, full, distance or []), NONE)


def near(want: Tensors) -> Tensors:
    """Right within roundings."""
    rng = generator(2, "noise")
    return {
        n: (v.float() * (1 + 1e-3 * torch.randn(v.shape, generator=rng))).to(v.dtype)
        for n, v in want.items()
    }
