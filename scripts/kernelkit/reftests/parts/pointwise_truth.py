"""Ground truth of norms, matrix products and rotary embedding."""

from __future__ import annotations

import torch

Tensors = dict[str, torch.Tensor]
EPS = 1e-6
NEOX = True
CHUNK = 1 << 26  # elements of B that are taken at a time in float64


def torch_rmsnorm(inputs: Tensors) -> Tensors:
    """torch.nn.functional.rms_norm in float64."""
    x = inputs["hidden_states"].double()
    if "residual" in inputs:
        x = x + inputs["residual"].double()
    weight = inputs["weight"].double()
    return {"output": torch.nn.functional.rms_norm(x, weight.shape, weight, EPS)}


def torch_gemma_rmsnorm(inputs: Tensors) -> Tensors:
    """torch.nn.functional.rms_norm in float64 with the factor 1 + weight."""
    return torch_rmsnorm({**inputs, "weight": inputs["weight"].double() + 1.0})


def flashinfer_rmsnorm(inputs: Tensors) -> Tensors:
    """flashinfer.norm.rmsnorm."""
    import flashinfer

    return {"output": flashinfer.norm.rmsnorm(inputs["hidden_states"], inputs["weight"], eps=EPS)}


def flashinfer_gemma_rmsnorm(inputs: Tensors) -> Tensors:
    """flashinfer.norm.gemma_rmsnorm."""
    import flashinfer

    norm = flashinfer.norm.gemma_rmsnorm
    return {"output": norm(inputs["hidden_states"], inputs["weight"], eps=EPS)}


def flashinfer_fused_add_rmsnorm(inputs: Tensors) -> Tensors:
    """flashinfer.norm.fused_add_rmsnorm, which writes over its inputs."""
    import flashinfer

    x, residual = inputs["hidden_states"].clone(), inputs["residual"].clone()
    flashinfer.norm.fused_add_rmsnorm(x, residual, inputs["weight"], eps=EPS)
    return {"output": x}


def flashinfer_gemma_fused_add_rmsnorm(inputs: Tensors) -> Tensors:
    """flashinfer.norm.gemma_fused_add_rmsnorm, which writes over its inputs."""
    import flashinfer

    x, residual = inputs["hidden_states"].clone(), inputs["residual"].clone()
    flashinfer.norm.gemma_fused_add_rmsnorm(x, residual, inputs["weight"], eps=EPS)
    return {"output": x}


def torch_gemm(inputs: Tensors) -> Tensors:
    """The sums in float64, some rows of B at a time."""
    a, b = inputs["A"].double(), inputs["B"]
    step = max(1, CHUNK // b.shape[1])
    parts = [torch.einsum("mk,nk->mn", a, part.double()) for part in b.split(step)]
    return {"C": torch.cat(parts, dim=1)}


def torch_rope(inputs: Tensors) -> Tensors:
    """Pairs of dimensions as complex numbers, turned by cos + i sin, in float64."""
    cos, sin = inputs["cos_sin_cache"].double()[inputs["positions"]].chunk(2, dim=1)
    turn = torch.complex(cos, sin)[:, None]
    half = turn.shape[-1]
    turned = {}
    for name in ("q", "k"):
        x = inputs[name].double()
        rotary = x[..., : 2 * half].unflatten(-1, (2, half) if NEOX else (half, 2))
        pairs = rotary.transpose(-1, -2) if NEOX else rotary
        result = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * turn)
        result = result.transpose(-1, -2) if NEOX else result
        turned[f"{name}_out"] = torch.cat([result.flatten(-2), x[..., 2 * half :]], dim=-1)
    return turned


def flashinfer_rope(inputs: Tensors) -> Tensors:
    """flashinfer.rope.apply_rope_with_cos_sin_cache_inplace, heads and head size in one axis."""
    import flashinfer

    q, k = inputs["q"].flatten(1).clone(), inputs["k"].flatten(1).clone()
    flashinfer.rope.apply_rope_with_cos_sin_cache_inplace(
        inputs["positions"], q, k, inputs["q"].shape[2], inputs["cos_sin_cache"], is_neox=NEOX
    )
    return {"q_out": q.view_as(inputs["q"]), "k_out": k.view_as(inputs["k"])}
