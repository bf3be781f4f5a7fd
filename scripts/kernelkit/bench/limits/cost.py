"""What a call must do, against what the device can do: speed of light, and the floor below it.

Two different numbers:

speed of light  bytes and FLOPs of the op family's cost model over the device's *measured* ceilings.
                A good kernel comes near 100 %. It is a yardstick, not a proof.
floor           the least that every right kernel must read, write and compute (see least.py), over
                rates that no program reaches. A latency below it is impossible, so the clock or
                the work was tampered with. It errs on the slow side only: where anything is
                unknown, it counts nothing.

Everything here is arithmetic on numbers; torch is needed for neither. A `Work` is plain data: the
process that holds the inputs makes it, another one may judge by it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from kernelkit.bench.limits import least
from kernelkit.bench.limits.ceilings import Ceilings
from kernelkit.dataset.definition import ITEM_BYTES, Definition
from kernelkit.errors import KernelkitError, UsageError
from kernelkit.ops import family_or_generic
from kernelkit.ops.base import Axes, Cost, Inputs, all_bytes

# What arithmetic on a definition of another shape than its family's can raise.
FOREIGN = (KernelkitError, LookupError, ArithmeticError, AttributeError, TypeError, ValueError,
           RuntimeError)  # fmt: skip
FLOATS = ("float4_e2m1", "float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Work:
    """One call in numbers: bytes and FLOPs of the cost model, and the least of each."""

    bytes_moved: float
    flops: float
    dtype: str  # of the units that multiply: the narrowest float input's
    least_read: float = 0.0  # bytes that every right kernel reads from its inputs
    least_written: float = 0.0
    least_flops: float = 0.0
    least_dtype: str = "bfloat16"  # the fastest type that the tolerance leaves room for
    note: str = ""  # why a part is not known

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `Work(**document)` is the inverse."""
        return asdict(self)

    def speed_of_light(self, latency_ms: float, ceilings: Ceilings | None) -> dict[str, Any]:
        """The facts of a trace: achieved rates, the limit that binds, and the percent of it.

        GB/s and TFLOP/s count what the op needs, whatever the kernel moved. Without ceilings, or
        for a call without work, the limit's keys are absent. Raises UsageError for a latency
        that is none.
        """
        if not 0 < latency_ms < math.inf:
            raise UsageError("not a latency", received=latency_ms, allowed="milliseconds above 0")
        facts: dict[str, Any] = {
            "bytes_moved": self.bytes_moved,
            "flops": self.flops,
            "gb_per_s": self.bytes_moved / latency_ms / 1e6,
            "tflop_per_s": self.flops / latency_ms / 1e9,
        }
        if ceilings is None:
            return facts
        memory_ms = _ms(self.bytes_moved, ceilings.memory_bytes_per_s)
        compute_ms = _ms(self.flops, ceilings.matmul_flops_per_s(self.dtype))
        limit_ms = max(memory_ms, compute_ms)
        if limit_ms > 0:
            facts["limit"] = "memory" if memory_ms >= compute_ms else "compute"
            facts["limit_ms"] = limit_ms
            facts["percent"] = 100.0 * limit_ms / latency_ms
        return facts

    def floor_ms(self, ceilings: Ceilings | None, *, l2: str = "cold") -> float:
        """No right kernel is faster than this; 0.0 where nothing is known.

        Reads count in full where the cache was emptied before the call (`l2="cold"`); else only
        what exceeds the cache does. Writes count beyond the cache's size in both cases: what a
        kernel wrote last may still be in the cache when its end is marked. On a CPU nothing
        empties the caches, so that both are taken as warm.
        """
        if ceilings is None:
            return 0.0
        warm = l2 != "cold" or ceilings.device == "cpu"
        cached = float(ceilings.l2_bytes)
        if warm and not cached:
            moved = 0.0  # a cache of unknown size may hold everything
        else:
            read = max(0.0, self.least_read - cached) if warm else self.least_read
            moved = read + max(0.0, self.least_written - cached)
        memory_ms = _ms(moved, ceilings.limit_bytes_per_s)
        return max(memory_ms, _ms(self.least_flops, ceilings.limit_flops_per_s(self.least_dtype)))


def work(
    definition: Definition,
    axes: Axes,
    inputs: Inputs | None = None,
    *,
    for_this_call: bool = False,
) -> Work:
    """The work of a call. `inputs` (tensors by name) tell what axes leave open: lengths, pages.

    The least counts what the indices in `inputs` name only where the call to judge is made on just
    these inputs (`for_this_call`): another call of the workload may have less to do, down to
    nothing. Never raises for a definition that its family does not know: it then counts all inputs
    and outputs, no FLOPs and no floor.
    """
    note = ""
    try:
        modelled = family_or_generic(definition.op_type).cost(definition, axes, inputs)
    except FOREIGN as error:
        modelled = Cost(_bytes(definition, axes), 0.0)
        note = f"not of the form that its op type's cost model knows: {error}"
    try:
        lower = least.least(definition, axes, inputs if for_this_call else None)
    except FOREIGN:
        lower = least.Least()
    return Work(
        bytes_moved=float(modelled.bytes_moved),
        flops=float(modelled.flops),
        dtype=narrowest(definition),
        least_read=lower.read,
        least_written=lower.written,
        least_flops=lower.flops,
        least_dtype=_least_dtype(definition),
        note=note,
    )


def speed_of_light(
    definition: Definition,
    axes: Axes,
    inputs: Inputs | None,
    latency_ms: float,
    ceilings: Ceilings | None,
) -> dict[str, Any]:
    """See `Work.speed_of_light`."""
    return work(definition, axes, inputs).speed_of_light(latency_ms, ceilings)


def floor_ms(
    definition: Definition,
    axes: Axes,
    inputs: Inputs | None,
    ceilings: Ceilings | None,
    *,
    l2: str = "cold",
) -> float:
    """See `Work.floor_ms`; for a call on just these inputs."""
    return work(definition, axes, inputs, for_this_call=True).floor_ms(ceilings, l2=l2)


def narrowest(definition: Definition) -> str:
    """The narrowest float dtype among the input tensors: what the matrix units are fed with."""
    held = [
        s.dtype.value for s in definition.inputs.values() if s.shape and s.dtype.value in FLOATS
    ]
    return min(held, key=lambda dtype: (ITEM_BYTES[dtype], FLOATS.index(dtype)), default="float32")


def _least_dtype(definition: Definition) -> str:
    """The fastest element type that a right kernel may compute in.

    An op whose tolerance lets a share of elements differ is a low-bit op: a kernel may go down to
    four bits. Else the narrowest input, and 16 bits for wider ones.
    """
    try:
        ratio = family_or_generic(definition.op_type).tolerance(definition).matched_ratio
    except FOREIGN:
        ratio = 0.0
    if ratio < 1.0:
        return "float4_e2m1"
    dtype = narrowest(definition)
    return "bfloat16" if dtype == "float32" else dtype


def _bytes(definition: Definition, axes: Axes) -> float:
    try:
        return all_bytes(definition, axes)
    except FOREIGN:
        return 0.0


def _ms(amount: float, per_s: float) -> float:
    """Time at a rate; 0 where there is no rate."""
    return 1e3 * amount / per_s if per_s > 0 else 0.0
