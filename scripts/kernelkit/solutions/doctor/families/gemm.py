"""C = A @ B.T with knobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.doctor.mutant import Mutant, table

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

TAILS = (16, 32, 64, 128, 256)  # tile sizes of common kernels


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    b: str = "transposed"  # transposed, as-is, reinterpreted ([N, K] memory read as [K, N])
    a: str = "right"  # right, reinterpreted ([M, K] memory read as [K, M])
    operands: str = "right"  # or a dtype that both are rounded to
    tile: int = 1  # of K: a tail that fills no tile is not summed
    first: int = 0  # of K: only so many are summed
    skipped: int = 0  # of K: so many at the start are not summed


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """C [M, N]."""
    import torch

    turned = Knobs(**knobs)
    a, b = inputs["A"].float(), inputs["B"].float()
    if turned.operands != "right":
        kind = getattr(torch, turned.operands)
        a, b = a.to(kind).float(), b.to(kind).float()
    if turned.a == "reinterpreted":
        a = a.contiguous().view(a.shape[1], a.shape[0]).t()
    if turned.b == "as-is":
        b = b.t()  # only where N = K
    elif turned.b == "reinterpreted":
        b = b.contiguous().view(b.shape[1], b.shape[0]).t()
    stop = turned.first or a.shape[1] // turned.tile * turned.tile
    part = slice(turned.skipped, stop)
    return {"C": (a[:, part] @ b[:, part].t()).to(inputs["A"].dtype)}


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    n, k = definition.const_axes["N"], definition.const_axes["K"]
    rows = [
        ("b-not-transposed", "B's memory is read as [K, N]",
         "B is [N, K]: C = A @ B.T (or strides (1, K))", {"b": "reinterpreted"}),
        ("a-transposed", "A's memory is read as [K, M]", "A is [M, K], K contiguous",
         {"a": "reinterpreted"}),
    ]  # fmt: skip
    if n == k:
        rows.insert(0, ("b-not-transposed", "C = A @ B", "C = A @ B.T: B is [N, K]",
                        {"b": "as-is"}))  # fmt: skip
    rows += [
        ("k-tail-ignored", f"the last {k % tile} of K fill no tile of {tile} and are not summed",
         "mask the last tile of K", {"tile": tile})
        for tile in TAILS if k % tile and k > tile
    ]  # fmt: skip
    for tile in (tile for tile in TAILS if k > tile):
        rows += [
            ("k-loop-short", f"only the first {tile} of K are summed", "loop over all of K",
             {"first": tile}),
            ("k-loop-short", f"the last {tile} of K are not summed", "loop over all of K",
             {"first": k - tile}),
            ("k-loop-late", f"the first {tile} of K are not summed",
             "start the loop over K at 0", {"skipped": tile}),
        ]  # fmt: skip
    rows += [
        (f"operands-in-{kind}", f"A and B are rounded to {kind} before the product",
         "keep the operands as they are", {"operands": kind})
        for kind in ("bfloat16", "float8_e4m3fn", "float8_e5m2")
    ]  # fmt: skip
    return table(rows)


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Nothing distinguishes rows."""
    return {}
