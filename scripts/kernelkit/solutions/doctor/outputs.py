"""Hypotheses on outputs alone: got is the reference's output scaled, transposed, permuted, cast.

Each test looks at one output over all cases in which it is refused, and claims what got would be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor import permuted
from kernelkit.solutions.doctor.claim import Claim, Transform
from kernelkit.solutions.doctor.matching import Observation

if TYPE_CHECKING:
    import torch

LN2, LOG2E = math.log(2.0), math.log2(math.e)
SAME = 2e-3  # relative: a measured factor is a known constant
UNIT = 5e-3  # a factor nearer to one than this is none


def claims(
    definition: Definition, observations: Sequence[Observation], inputs: dict[str, dict]
) -> Iterator[Claim]:
    """All claims on refused outputs; `inputs` are the cases' by name."""
    import torch

    names = list(dict.fromkeys(o.name for o in observations))
    for name in names:
        seen = [o for o in observations if o.name == name and o.failed]
        if not seen or seen[0].want.dtype == torch.bool:  # membership has no order and no scale
            continue
        yield from _plain(name, seen)
        yield from _copies(name, seen, inputs, observations)
        yield from _layouts(definition, name, seen)
        if seen[0].want.dtype.is_floating_point:
            yield from _factors(definition, name, seen)
            yield from _casts(name, seen)
            yield from _bounds(name, seen)
        yield from permuted.claims(definition, name, seen)


def _plain(name: str, seen: Sequence[Observation]) -> Iterator[Claim]:
    """Nothing was computed."""
    import torch

    if all(not bool(o.got.any()) for o in seen):
        yield Claim(
            "all-zeros", f"{name} is zero everywhere",
            "write the result: a kernel that was never launched, a copy that was never made, or "
            "an output that is returned before it is filled", f"{name}: every element is 0",
            name, lambda o: torch.zeros_like(o.want),
        )  # fmt: skip
    elif seen[0].want.dtype.is_floating_point and all(bool(o.got.isnan().all()) for o in seen):
        yield Claim(
            "all-nan", f"{name} is NaN everywhere",
            "look for 0 / 0, inf - inf, or memory that is read before it is written",
            f"{name}: every element is NaN", name,
            lambda o: torch.full_like(o.want, math.nan),
        )  # fmt: skip


def _copies(
    name: str, seen: Sequence[Observation], inputs: dict[str, dict],
    observations: Sequence[Observation],
) -> Iterator[Claim]:  # fmt: skip
    """got is an input, or another output."""
    shapes = {n: v for n, v in inputs[seen[0].case].items() if hasattr(v, "shape")}
    for other, value in shapes.items():
        if value.shape == seen[0].want.shape and value.dtype == seen[0].want.dtype:
            yield Claim(
                "output-is-input", f"{name} holds the input {other}, unchanged",
                "return what the kernel wrote; an in-place API writes its argument",
                f"{name} == {other}", name, _from_inputs(inputs, other),
            )  # fmt: skip
    for other in {o.name for o in observations} - {name}:
        wanted = {o.case: o.want for o in observations if o.name == other}
        if wanted[seen[0].case].shape == seen[0].want.shape:
            yield Claim(
                "outputs-swapped", f"{name} holds what belongs into {other}",
                "return the outputs in the definition's order", f"{name} == reference {other}",
                name, _from_other(wanted),
            )  # fmt: skip


def _from_inputs(inputs: dict[str, dict], other: str) -> Transform:
    return lambda o: inputs[o.case][other].to(o.want)


def _from_other(wanted: dict[str, torch.Tensor]) -> Transform:
    return lambda o: wanted[o.case].to(o.want)


def _layouts(definition: Definition, name: str, seen: Sequence[Observation]) -> Iterator[Claim]:
    """Two axes are exchanged: as such where they are equal, else in memory."""
    axes = definition.outputs[name].shape or []
    state = "state" in name
    for i, j in combinations(range(seen[0].want.dim()), 2):
        label = _axes(axes, i, j)
        if seen[0].want.shape[i] == seen[0].want.shape[j] > 1:
            cause = "state-transposed" if state else "output-transposed"
            change = (
                "the definition's state is [V, K]: transpose it, or set the library's flag"
                if state else f"exchange axes {label} before you return it"
            )  # fmt: skip
            yield Claim(
                cause, f"{name} is transposed in its axes {label}", change,
                f"{name} == reference with axes {i} and {j} exchanged", name,
                lambda o, i=i, j=j: o.want.transpose(i, j),
            )  # fmt: skip
        if seen[0].want.shape[i] > 1 < seen[0].want.shape[j]:
            yield Claim(
                "output-layout-permuted", f"{name} is written with axes {label} exchanged in "
                "memory, and read without", f"use permute, not view, for axes {label}",
                f"{name} == the reference's memory with axes {i} and {j} exchanged", name,
                lambda o, i=i, j=j: o.want.transpose(i, j).contiguous().view(o.want.shape),
            )  # fmt: skip


def _axes(axes: Sequence[str], i: int, j: int) -> str:
    return f"{axes[i]} and {axes[j]}" if j < len(axes) else f"{i} and {j}"


def _factors(definition: Definition, name: str, seen: Sequence[Observation]) -> Iterator[Claim]:
    """One factor, or one summand, for all elements."""
    got, want = _finite(seen)
    if not len(want):
        return
    large = want.abs() > 0.1 * want.square().mean().sqrt()
    ratio = (got / want)[large]
    factor = float(ratio.median()) if len(ratio) else 1.0
    if math.isfinite(factor) and abs(factor - 1) > UNIT and factor != 0:
        spread = _spread(ratio)
        evidence = (
            f"{name} / reference = {factor:.4f} (half of the elements within {spread:.1e}), "
            f"{len(ratio)} elements"
        )
        text = _factor_cause(definition, name, factor)
        yield Claim(*text, evidence, name, lambda o: o.want * factor)
    summand = float((got - want).median())
    if math.isfinite(summand) and summand:
        spread = _spread(got - want)
        yield Claim(
            "constant-offset", f"{name} is off by the same amount everywhere",
            "look for a constant that is added once too often, or lost",
            f"{name} - reference = {summand:.4g} (half of the elements within {spread:.1e})",
            name, lambda o: o.want + summand,
        )  # fmt: skip


def _finite(seen: Sequence[Observation]) -> tuple[torch.Tensor, torch.Tensor]:
    """Finite pairs of all observations, float64, one axis."""
    import torch

    got = torch.cat([o.got.double().flatten() for o in seen])
    want = torch.cat([o.want.double().flatten() for o in seen])
    kept = got.isfinite() & want.isfinite() & (want != 0)
    return got[kept], want[kept]


def _spread(values: torch.Tensor) -> float:
    """Half of the values are within this of their median."""
    return float((values - values.median()).abs().median())


def _factor_cause(definition: Definition, name: str, factor: float) -> tuple[str, str, str]:
    """(cause, meaning, change) of a factor."""
    if "lse" in name and math.isclose(factor, LN2, rel_tol=SAME):
        return (
            "lse-base-e", "the log-sum-exp is a natural logarithm, the definition wants base 2",
            "multiply the LSE by log2(e) = 1.442695, i.e. divide it by math.log(2)",
        )  # fmt: skip
    if "lse" in name and math.isclose(factor, LOG2E, rel_tol=SAME):
        return (
            "lse-base2-twice", "the log-sum-exp is converted to base 2 twice",
            "the kernel gives base 2 already: return its LSE as it is",
        )  # fmt: skip
    if math.isclose(factor, -1.0, rel_tol=SAME):
        return ("sign-flipped", f"{name} has the wrong sign", "negate it")
    known = _known_factor(definition, factor)
    what = f" = {known}" if known else ""
    return (
        "constant-factor", f"{name} is {factor:.4g}{what} times the reference",
        "look for a scale that is applied once too often, or lost",
    )  # fmt: skip


def _known_factor(definition: Definition, factor: float) -> str:
    """The factor as a formula of the definition's constants; "" where there is none."""
    sizes = {axis: size for axis, size in definition.const_axes.items() if size > 1}
    known = {"2": 2.0, "1/2": 0.5, "ln 2": LN2, "log2 e": LOG2E}
    known |= {f"1 / sqrt({axis})": size**-0.5 for axis, size in sizes.items()}
    known |= {f"sqrt({axis})": size**0.5 for axis, size in sizes.items()}
    known |= {f"1 / {axis}": 1 / size for axis, size in sizes.items()}
    known |= {axis: float(size) for axis, size in sizes.items()}
    return next((n for n, v in known.items() if math.isclose(factor, v, rel_tol=SAME)), "")


def _casts(name: str, seen: Sequence[Observation]) -> Iterator[Claim]:
    """got went through a shorter type."""
    import torch

    held = torch.finfo(seen[0].want.dtype).bits
    for kind in (torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2):
        if torch.finfo(kind).bits < held or (held == 16 and kind == torch.bfloat16):
            text = str(kind).removeprefix("torch.")
            yield Claim(
                f"rounded-to-{text}", f"{name} is rounded to {text} on its way",
                f"keep it in {str(seen[0].want.dtype).removeprefix('torch.')} to the end",
                f"{name} == reference rounded to {text}", name,
                lambda o, kind=kind: o.want.to(kind).to(o.want.dtype),
            )  # fmt: skip


def _bounds(name: str, seen: Sequence[Observation]) -> Iterator[Claim]:
    """got is cut off, or has lost its signs."""
    import torch

    got = torch.cat([o.got.double().flatten() for o in seen])
    finite = got[got.isfinite()]
    if not len(finite):
        return
    low, high = finite.min(), finite.max()
    change = "look for a clamp, a ReLU or a saturating cast on the way"
    yield Claim(
        "output-clamped", f"{name} is cut off below {float(low):.4g} and above {float(high):.4g}",
        change, f"{name} == reference between {float(low):.4g} and {float(high):.4g}", name,
        lambda o: o.want.clamp(float(low), float(high)),
    )  # fmt: skip
    yield Claim(
        "output-without-signs", f"{name} holds magnitudes", change,
        f"{name} == |reference|", name, lambda o: o.want.abs(),
    )  # fmt: skip
