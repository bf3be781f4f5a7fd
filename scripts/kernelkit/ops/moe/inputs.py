"""Inputs of the moe family: experts whose outputs are near one, quantised as checkpoints are.

Weights have variance 1/K, so that up, gate and output are near one. Their values come from a table
of 256 equally likely quantiles of the normal distribution, drawn by random bytes: billions of
elements in seconds, without a float32 copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops import base
from kernelkit.ops.base import Axes, Inputs
from kernelkit.ops.moe.forms import BLOCK

if TYPE_CHECKING:
    import torch

FP8_MAX = 448.0  # of float8_e4m3fn
FP4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # of float4_e2m1
FP4_BLOCK = 32  # weights that share a power of two in MXFP4
# A checkpoint's scale maps the largest of a block to FP8_MAX; of 128 x 128 normals that is 4 sigma.
FP8_SIGMA = FP8_MAX / 4
FP4_SIGMA = FP4_VALUES[-1] / 3
# Per tensor: the product of up and gate is stored as float8 too. Its tail is longer than a normal
# one's: with room for ten sigma some rows are cut, and off by a tenth.
INNER_FACTOR = FP8_MAX / 40
LARGEST_INPUT = 5.0  # of the normal activations, per tensor
BF16_WEIGHTS = ("fc1_expert_weights", "fc2_expert_weights")
BIAS_SCALE = {"float32": 0.1, "bfloat16": 0.01}  # by the logits' dtype: DeepSeek's, others


def activations(definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
    """float8 hidden states and the scale of each 128 of them, [blocks, tokens]."""
    import torch

    tokens, size = definition.shape_of("hidden_states", dict(axes)) or (0, 0)
    values = torch.randn(tokens, size // BLOCK, BLOCK, generator=rng)
    scale = values.abs().amax(dim=2) / FP8_MAX
    quantised = (values / scale[:, :, None]).to(torch.float8_e4m3fn)
    return {
        "hidden_states": quantised.flatten(1),
        "hidden_states_scale": scale.T.clone(memory_format=torch.contiguous_format),
    }


def routed_ids(definition: Definition, axes: Axes, rng: torch.Generator) -> torch.Tensor:
    """Distinct experts a token with bfloat16 weights that sum to one: (expert << 16) | weight."""
    import torch

    experts, weights = _chosen(definition.const_axes["num_experts"], definition, axes, rng)
    bits = weights.to(torch.bfloat16).view(torch.int16).to(torch.int32) & 0xFFFF
    return experts.to(torch.int32) << 16 | bits


def selected(definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
    """Distinct experts a token, as int32, with float32 factors that sum to one."""
    import torch

    held = definition.const_axes["num_local_experts"]
    experts, weights = _chosen(held, definition, axes, rng)
    return {"token_selected_experts": experts.to(torch.int32), "token_final_scales": weights}


def _chosen(
    experts: int, definition: Definition, axes: Axes, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """The experts of normal logits, [tokens, top_k], and their softmax."""
    import torch

    top_k = definition.const_axes["top_k"]
    values, chosen = torch.randn(axes["seq_len"], experts, generator=rng).topk(top_k, dim=1)
    # One expert's share would always be 1, and show no difference to no weight at all.
    return chosen, values.softmax(dim=1) if top_k > 1 else values.sigmoid()


def value(definition: Definition, name: str, axes: Axes, rng: torch.Generator) -> Any:
    """One independent input."""
    import torch

    if name in ("gemm1_weights", "gemm2_weights", *BF16_WEIGHTS):
        return _weights(definition, name, axes, rng)
    if name.endswith("weights_scale"):
        fan_in = _fan_in(definition, name.removesuffix("_scale"))
        return _around(fan_in**-0.5 / FP8_SIGMA, definition, name, axes, rng)
    if name in OUTPUT_SCALES:
        return _around(OUTPUT_SCALES[name](definition), definition, name, axes, rng)
    if name == "hidden_states" and "output1_scales_scalar" in definition.inputs:
        shape = definition.shape_of(name, dict(axes)) or ()
        scaled = torch.randn(shape, generator=rng) * (FP8_MAX / LARGEST_INPUT)
        return scaled.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)
    if name == "local_expert_offset":
        return 0
    if name == "routed_scaling_factor":
        return 2.5  # DeepSeek-V3's
    if name == "routing_bias":
        scale = BIAS_SCALE[definition.inputs["routing_logits"].dtype.value]
        return base.normal(definition, name, axes, rng, scale)
    return base.normal(definition, name, axes, rng)


def _fan_in(definition: Definition, weights: str) -> int:
    first = weights in ("gemm1_weights", BF16_WEIGHTS[0])
    return definition.const_axes["hidden_size" if first else "intermediate_size"]


def _gate_scale(definition: Definition) -> float:
    """Undoes the scaling of the input and of gemm1_weights."""
    return LARGEST_INPUT / FP8_MAX * _fan_in(definition, "gemm1_weights") ** -0.5 / FP8_SIGMA


def _out_scale(definition: Definition) -> float:
    """Undoes the scaling of the inner values and of gemm2_weights."""
    return _fan_in(definition, "gemm2_weights") ** -0.5 / FP8_SIGMA / INNER_FACTOR


OUTPUT_SCALES: dict[str, Callable[[Definition], float]] = {
    "output1_scales_gate_scalar": _gate_scale,
    "output1_scales_scalar": lambda definition: _gate_scale(definition) * INNER_FACTOR,
    "output2_scales_scalar": _out_scale,
}


def _around(
    centre: float, definition: Definition, name: str, axes: Axes, rng: torch.Generator
) -> torch.Tensor:
    """float32 scales between 0.8 and 1.2 times `centre`."""
    import torch

    shape = definition.shape_of(name, dict(axes)) or ()
    return (torch.rand(shape, generator=rng) * 0.4 + 0.8) * centre


def _weights(definition: Definition, name: str, axes: Axes, rng: torch.Generator) -> torch.Tensor:
    """Expert by expert, so that what is drawn stays small."""
    import torch

    experts, rows, columns = definition.shape_of(name, dict(axes)) or (0, 0, 0)
    dtype = base.torch_dtype(definition.inputs[name].dtype.value)
    result = torch.empty(experts, rows, columns, dtype=dtype)
    table = {torch.float8_e4m3fn: _fp8_table, torch.bfloat16: _quantiles}.get(dtype, _fp4_table)()
    for expert in range(experts):
        drawn = table.index_select(0, _random_bytes(rows * columns, rng)).view(rows, columns)
        if dtype == torch.float8_e4m3fn:
            result[expert] = drawn.view(torch.float8_e4m3fn)
        elif dtype == torch.bfloat16:
            result[expert] = drawn * _fan_in(definition, name) ** -0.5
        else:
            result[expert] = _scaled_fp4(drawn, _fan_in(definition, name), rng)
    return result


def _random_bytes(count: int, rng: torch.Generator) -> torch.Tensor:
    """Uniform bytes as int32 indices."""
    import torch

    words = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None, generator=rng)
    return words.view(torch.uint8)[:count].to(torch.int32)


def _quantiles() -> torch.Tensor:
    """256 equally likely values of the normal distribution."""
    import torch

    share = (torch.arange(256, dtype=torch.float64) + 0.5) / 256
    return torch.special.ndtri(share).to(torch.float32)


def _fp8_table() -> torch.Tensor:
    """Normal quantiles in float8 range, as bytes."""
    import torch

    return (_quantiles() * FP8_SIGMA).to(torch.float8_e4m3fn).view(torch.uint8)


def _fp4_table() -> torch.Tensor:
    """Normal quantiles rounded to float4's values."""
    import torch

    grid = torch.tensor(FP4_VALUES)
    scaled = _quantiles() * FP4_SIGMA
    nearest = (scaled.abs()[:, None] - grid).abs().argmin(dim=1)
    return grid[nearest] * scaled.sign()


def _scaled_fp4(values: torch.Tensor, fan_in: int, rng: torch.Generator) -> torch.Tensor:
    """Times a power of two for each block, so that MXFP4 holds the weights exactly."""
    import torch

    rows, columns = values.shape
    # Half of the blocks are twice as large: sqrt((1 + 4) / 2) of the smaller.
    exponent = round(math.log2(fan_in**-0.5 / FP4_SIGMA / math.sqrt(2.5)))
    blocks = -(-columns // FP4_BLOCK)
    drawn = torch.randint(0, 2, (rows, blocks), generator=rng) + exponent
    scale = torch.exp2(drawn.to(torch.float32)).repeat_interleave(FP4_BLOCK, dim=1)
    return values * scale[:, :columns]
