"""Returned tensors as outputs by name: count, order, shape and dtype, mended where it is plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit.solutions.doctor.process import Answer
from kernelkit.solutions.doctor.report import Finding

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


def named(answer: Answer, want: Tensors) -> tuple[Tensors, list[Finding]]:
    """The outputs by name, and how their form differs from what is wanted."""
    strange = [info["type"] for info in answer.outputs if "type" in info]
    if strange:
        return {}, [Finding("output-is-no-tensor", "an output is no tensor",
                            [f"got {', '.join(strange)}"], "return tensors")]  # fmt: skip
    found, findings = _assign(answer, want)
    fixed: Tensors = {}
    for name, value in found.items():
        value, problem = _shaped(name, value, want[name])
        findings += [problem] if problem else []
        if value is None:
            continue
        if value.dtype != want[name].dtype:
            findings.append(_dtype(name, value, want[name]))
            value = value.to(want[name].dtype)
        fixed[name] = value
    return fixed, findings


def _assign(answer: Answer, want: Tensors) -> tuple[Tensors, list[Finding]]:
    """Which tensor is which output."""
    values, names = [answer.tensors[i] for i in sorted(answer.tensors)], list(want)
    if answer.names is not None:
        if set(answer.names) != set(names):
            return {}, [Finding(
                "outputs-misnamed", "the returned dict has other keys than the outputs' names",
                [f"got {', '.join(answer.names)}; wanted {', '.join(names)}"],
                "use the definition's names, or return a tuple in its order",
            )]  # fmt: skip
        return dict(zip(answer.names, values, strict=True)), []
    if len(values) != len(names):
        found = dict(zip(names, values, strict=False))
        return found, [Finding(
            "wrong-number-of-outputs", f"{len(values)} outputs are returned, {len(names)} wanted",
            [f"wanted: {', '.join(names)}"], f"return ({', '.join(names)})",
        )]  # fmt: skip
    if len(names) == 2 and _fits(values[::-1], want) and not _fits(values, want):
        return dict(zip(names, values[::-1], strict=True)), [Finding(
            "outputs-in-wrong-order", "the outputs are returned in the other order",
            [f"shapes {[tuple(v.shape) for v in values]}, wanted {names} "
             f"{[tuple(w.shape) for w in want.values()]}"],
            f"return ({', '.join(names)})",
        )]  # fmt: skip
    return dict(zip(names, values, strict=True)), []


def _fits(values: list[torch.Tensor], want: Tensors) -> bool:
    return all(
        v.shape == w.shape and v.dtype == w.dtype
        for v, w in zip(values, want.values(), strict=True)
    )


def _shaped(
    name: str, value: torch.Tensor, want: torch.Tensor
) -> tuple[torch.Tensor | None, Finding | None]:
    """The value in the wanted shape, None where that cannot be, and what was wrong."""
    if value.shape == want.shape:
        return value, None
    shapes = [f"{name}: shape {tuple(value.shape)}, wanted {tuple(want.shape)}"]
    if [n for n in value.shape if n != 1] == [n for n in want.shape if n != 1]:
        lost = value.dim() < want.dim()
        return value.reshape(want.shape), Finding(
            "squeezed-dimension" if lost else "extra-dimension",
            f"{name} has lost an axis of length 1" if lost else f"{name} has an axis too many",
            shapes, "squeeze(axis) by its number, never squeeze(): at one request or row it takes "
            "the batch along" if lost else "drop it: squeeze(axis), or index it",
        )  # fmt: skip
    if sorted(value.shape) == sorted(want.shape) and value.dim() == want.dim():
        order = _order(list(value.shape), list(want.shape))
        return value.permute(order), Finding(
            "output-transposed", f"{name} has its axes in another order", shapes,
            f"permute{tuple(order)} before you return it",
        )  # fmt: skip
    finding = Finding("wrong-shape", f"{name} has another shape", shapes,
                      "return the shape that the definition declares")  # fmt: skip
    same_size = value.numel() == want.numel()
    return (value.reshape(want.shape) if same_size else None), finding


def _order(have: list[int], wanted: list[int]) -> list[int]:
    """A permutation of axes that brings `have` to `wanted`."""
    left = list(enumerate(have))
    order = []
    for size in wanted:
        place = next(i for i, (_, n) in enumerate(left) if n == size)
        order.append(left.pop(place)[0])
    return order


def _dtype(name: str, value: torch.Tensor, want: torch.Tensor) -> Finding:
    have, wanted = (str(t.dtype).removeprefix("torch.") for t in (value, want))
    return Finding("wrong-dtype", f"{name} is {have}, the definition says {wanted}",
                   [f"{name}: {have}"], f"return it .to(torch.{wanted})")  # fmt: skip
