"""Small axes and inputs for a trial run of a definition that no family knows.

Names tell what shapes and types do not: `len_indptr` is one more than a batch, `K_div_128` is K
divided by it, an indptr rises, a length is at least one. Where constraints bind axes, they hold.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kernelkit.dataset import constraints
from kernelkit.dataset.definition import Definition
from kernelkit.errors import FormatError
from kernelkit.ops import base
from kernelkit.ops.base import Axes, Inputs

if TYPE_CHECKING:
    import torch

SMALL = 4
SHARED = 8  # of axes that stand for a pool or a total: room for what the indices name
SCALE = 0.5  # of a float scalar: an eps, a scale, a probability
_QUOTIENT = re.compile(r"(?P<axis>\w+?)_(div|per)_(?P<number>\d+)")
_SUCCESSOR = re.compile(r"(?P<axis>\w+?)_plus_1(_\w+)?")
_ONE_MORE = ("len_indptr", "len_cu_seqlens", "num_indptr")
_UNITS = ("scalar", "one", "singleton", "scale_size")
_POOLS = ("num_pages", "total", "max_seq_len", "nnz", "num_kv_indices", "pool")


def axes_of(definition: Definition) -> dict[str, int]:
    """A small value for each variable axis, as names and equalities have it."""
    axes = dict.fromkeys(definition.var_axes, SMALL)
    for axis in axes:
        if any(word in axis for word in _POOLS):
            axes[axis] = SHARED
    for axis in axes:
        axes[axis] = _by_name(axis, axes, definition.const_axes)
    for text in definition.constraints:
        _hold(text, axes, definition.const_axes)
    return axes


def _by_name(axis: str, axes: dict[str, int], consts: dict[str, int]) -> int:
    known = {**axes, **consts}
    if axis in _UNITS:
        return 1
    if axis in _ONE_MORE:
        return axes.get("batch_size", axes.get("num_seqs", SMALL)) + 1
    if match := _SUCCESSOR.fullmatch(axis):
        return known.get(match["axis"], SMALL) + 1
    if match := _QUOTIENT.fullmatch(axis):
        names = [n for n in consts if n == match["axis"] or n.startswith(f"{match['axis']}_")]
        if names:
            return max(1, consts[names[0]] // int(match["number"]))
    return axes[axis]


def _hold(text: str, axes: dict[str, int], consts: dict[str, int]) -> None:
    """Where an equality gives a variable axis from the others, set it so."""
    left, equal, right = text.partition("==")
    for name, other in ((left.strip(), right.strip()), (right.strip(), left.strip())):
        if equal and name in axes:
            try:
                axes[name] = max(0, constraints.value(other, {**axes, **consts}))
            except FormatError:
                continue
            return


def inputs_of(definition: Definition, axes: Axes) -> Inputs:
    """Normal floats; offsets that rise, lengths of one, indices of zero, scalars of a half or 1."""
    return {name: _input(definition, name, axes) for name in definition.inputs}


def _input(definition: Definition, name: str, axes: Axes) -> Any:
    import torch

    spec = definition.inputs[name]
    dtype = base.torch_dtype(spec.dtype.value)
    shape = definition.shape_of(name, dict(axes))
    if shape is None:
        return SCALE if dtype.is_floating_point else dtype == torch.bool or 1
    if dtype.is_floating_point:
        values = base.normal(definition, name, axes, base.generator(0, name))
        return torch.softmax(values.float(), -1).to(dtype) if "probs" in name else values
    return _integers(definition, name, shape, dtype, axes)


def _integers(
    definition: Definition, name: str, shape: tuple[int, ...], dtype: torch.dtype, axes: Axes
) -> torch.Tensor:
    import torch

    if len(shape) == 1 and ("indptr" in name or "cu_seqlens" in name or "cum_" in name):
        steps = max(1, shape[0] - 1)
        return (torch.arange(shape[0]) * _total(definition, name, axes, steps) // steps).to(dtype)
    if any(word in name for word in ("len", "mask", "count")):
        return torch.ones(shape, dtype=dtype)
    return torch.zeros(shape, dtype=dtype)


def _total(definition: Definition, name: str, axes: Axes, default: int) -> int:
    """What the last offset must be: the axis that a constraint sets equal to it."""
    for text in definition.constraints:
        used = constraints.names(text)
        if name in used and "[-1]" in text and "==" in text:
            totals = [axes[axis] for axis in used - {name} if axis in axes]
            if totals:
                return totals[0]
    return default
