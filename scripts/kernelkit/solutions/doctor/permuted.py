"""Whether an output's rows, heads or columns are the reference's in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor.claim import Claim
from kernelkit.solutions.doctor.matching import Observation

if TYPE_CHECKING:
    import torch

MOST = 1024  # indices of an axis that are compared with each other


def claims(definition: Definition, name: str, seen: Sequence[Observation]) -> Iterator[Claim]:
    """A claim for each axis along which got is a choice of the reference's slices."""
    axes = definition.outputs[name].shape or []
    for axis, label in enumerate(axes[: seen[0].want.dim()]):
        largest = max(seen, key=lambda o, axis=axis: o.want.shape[axis])
        if not 1 < largest.want.shape[axis] <= MOST:
            continue
        order = _order(largest, axis)
        if order is None:
            continue
        cause, meaning = _describe(order, label)
        yield Claim(
            cause, f"{name}: {meaning}", f"write each index of {label} where it belongs",
            f"{name}: along {label} got is the reference's {_short(order)}", name,
            lambda o, axis=axis: _chosen(o, axis),
        )  # fmt: skip


def _order(seen: Observation, axis: int) -> list[int] | None:
    """For each slice of got the reference's nearest; None where that is the own one."""
    import torch

    got, want = (
        t.double().nan_to_num(0.0, 0.0, 0.0).movedim(axis, 0).flatten(1)
        for t in (seen.got, seen.want)
    )
    order = torch.cdist(got, want).argmin(dim=1)
    # Equal slices: the own one, where it is as near as any.
    own = torch.arange(len(order), device=order.device)
    near = (got - want).norm(dim=1) <= (got - want[order]).norm(dim=1)
    order = torch.where(near, own, order)
    return None if bool((order == own).all()) else order.tolist()


def _chosen(seen: Observation, axis: int) -> torch.Tensor:
    import torch

    order = _order(seen, axis)
    if order is None:
        return seen.want
    return seen.want.index_select(axis, torch.tensor(order, device=seen.want.device))


def _describe(order: list[int], label: str) -> tuple[str, str]:
    """Cause and meaning of an order."""
    count = len(order)
    what = "head" if "head" in label else "row" if label in _ROWS else "column"
    if len(set(order)) == 1:
        return f"one-{what}-for-all", f"every index of {label} holds the result of {order[0]}"
    if order == list(range(count))[::-1]:
        return f"{what}s-reversed", f"{label} is in reverse order"
    for shift in range(1, count):
        if order == [(i + shift) % count for i in range(count)]:
            return f"{what}s-shifted", f"{label} is shifted by {shift}"
    if order[1:] == list(range(count - 1)):
        return f"{what}s-shifted", f"{label} is one too late"
    for groups in range(2, count):
        if count % groups == 0 and order == [
            i % groups * (count // groups) + i // groups for i in range(count)
        ]:
            return f"{what}s-interleaved", f"{label} is interleaved in {groups} groups"
    return f"{what}s-permuted", f"{label} is in another order"


_ROWS = ("batch_size", "total_q", "num_tokens", "seq_len", "M", "total_seq_len", "num_seqs")


def _short(order: list[int], most: int = 8) -> str:
    return f"{order[:most]}{' ...' if len(order) > most else ''}"
