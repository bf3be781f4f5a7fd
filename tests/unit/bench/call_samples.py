"""A small definition of each form, its inputs, and a machine of round numbers."""

from __future__ import annotations

from typing import Any

from kernelkit.bench.limits import cost
from kernelkit.bench.limits.ceilings import Ceilings, Figure
from kernelkit.dataset.definition import Definition
from kernelkit.ops import (
    dsa_paged,
    family,
    gdn,
    gemm,
    gqa_paged,
    gqa_ragged,
    mamba_ssu,
    mla_paged,
    mla_ragged,
    moe,
    rmsnorm,
    rope,
    sampling,
)

FORMS = [
    rmsnorm.FAMILY.definition(64, 1e-5),
    rmsnorm.FAMILY.definition(64, 1e-5, fused=True),
    gemm.FAMILY.definition(32, 64),
    gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False),
    gqa_paged.FAMILY.definition(4, 2, 16, 8, prefill=False),
    gqa_paged.FAMILY.definition(4, 2, 16, 8, prefill=True),
    gqa_ragged.FAMILY.definition(4, 2, 16),
    mla_paged.FAMILY.definition(4, 32, 16, 8, prefill=False),
    mla_paged.FAMILY.definition(4, 32, 16, 1, prefill=True),
    mla_ragged.FAMILY.definition(4, 24, 16),
    dsa_paged.FAMILY.sparse(4, 32, 16, 8, 4),
    dsa_paged.FAMILY.indexer(4, 16, 8),
    gdn.FAMILY.definition(2, 4, 16, stage="decode"),
    gdn.FAMILY.definition(2, 4, 16, stage="mtp"),
    gdn.FAMILY.definition(2, 4, 16, stage="prefill"),
    mamba_ssu.FAMILY.definition(4, 16, 16, 2),
    moe.FAMILY.definition(
        "fp8_block", "renorm", num_experts=4, top_k=2, hidden_size=128, intermediate_size=128
    ),
    moe.FAMILY.definition(
        "fp8_block", "ds", num_experts=8, top_k=2, hidden_size=128, intermediate_size=128,
        n_group=2, topk_group=1,
    ),
    rope.FAMILY.definition(16, 8),
    sampling.FAMILY.definition("top_k", 100),
]  # fmt: skip


def machine(device: str = "cuda", gb_per_s: float = 1000.0, tflops: float = 100.0,
            **facts: Any) -> Ceilings:  # fmt: skip
    """A machine of round numbers: 1 TB/s and 100 TFLOP/s in 16 bits, 200 in float8."""
    rates = {"copy": (gb_per_s, "GB/s"), "bf16": (tflops, "TFLOP/s"), "fp16": (tflops, "TFLOP/s"),
             "fp8": (2 * tflops, "TFLOP/s"), "fp32": (tflops / 10, "TFLOP/s")}  # fmt: skip
    figures = {
        name: Figure(value, unit, "by hand", 9, 0.0) for name, (value, unit) in rates.items()
    }
    return Ceilings(device, "m", "1", "2", facts, figures, {}, "")


def work_of(definition: Definition, axes: dict[str, int], inputs: dict[str, Any]) -> cost.Work:
    """The work of a call on just these inputs."""
    return cost.work(definition, axes, inputs, for_this_call=True)


def inputs_of(definition: Definition, axes: dict[str, int] | None = None) -> dict[str, Any]:
    """Small inputs of the family."""
    op = family(definition.op_type)
    return op.make_inputs(definition, axes or op.small_axes(definition), 7)
