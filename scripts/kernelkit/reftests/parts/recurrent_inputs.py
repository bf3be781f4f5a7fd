"""Inputs of the recurrent families: gated delta net and Mamba-2."""

from __future__ import annotations

import torch

from kernelkit.reftests.parts.draws import normal, offsets, shuffled_ids, split

Inputs = dict[str, torch.Tensor | float]


def gdn_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Unit q and k, A of 1 to 16 and dt_bias near -3 as trained models have them, small states."""
    heads, size = axes["num_v_heads"], axes["head_size"]
    ragged = "total_seq_len" in axes
    rows = (axes["total_seq_len"],) if ragged else (axes["batch_size"], axes["seq_len"])
    q, k = (normal((*rows, axes[f"num_{x}_heads"], size), rng) for x in "qk")
    states = axes["num_seqs"] if ragged else axes["batch_size"]
    inputs: Inputs = {
        "q": torch.nn.functional.normalize(q, dim=-1),
        "k": torch.nn.functional.normalize(k, dim=-1),
        "v": normal((*rows, heads, size), rng),
        "state": normal((states, heads, size, size), rng, 0.1),
        "A_log": torch.log(1 + 15 * torch.rand(heads, generator=rng, device=rng.device)),
        "a": normal((*rows, heads), rng),
        "dt_bias": normal((heads,), rng) - 3.0,
        "b": normal((*rows, heads), rng),
        "scale": size**-0.5,
    }
    if ragged:
        lengths = split(axes["total_seq_len"], axes["num_seqs"], rng)
        inputs["cu_seqlens"] = offsets(lengths, rng, torch.int64)
    if "pool_size" in axes:
        pool = axes["pool_size"]
        inputs["initial_state"] = normal((pool, heads, size, size), rng, 0.1)
        inputs["initial_state_indices"] = shuffled_ids(axes["batch_size"], pool, rng)
        buffer = (pool, axes["seq_len"], heads, size, size)
        inputs["intermediate_states_buffer"] = torch.zeros(buffer, device=rng.device)
    return inputs


def mamba_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """A of -1 to -16, dt_bias near -3; A, dt, D and dt_bias have one value a head."""
    batch, heads, dim = axes["batch_size"], axes["nheads"], axes["head_dim"]
    size, groups = axes["dstate"], axes["ngroups"]
    per_head = -1 - 15 * torch.rand(heads, generator=rng, device=rng.device)
    return {
        "state": normal((axes["state_cache_size"], heads, dim, size), rng),
        "x": normal((batch, heads, dim), rng),
        "dt": normal((batch, heads, 1), rng).repeat(1, 1, dim),
        "A": per_head[:, None, None].repeat(1, dim, size),
        "B": normal((batch, groups, size), rng),
        "C": normal((batch, groups, size), rng),
        "D": normal((heads, 1), rng).repeat(1, dim),
        "dt_bias": (normal((heads, 1), rng) - 3.0).repeat(1, dim),
        "state_batch_indices": shuffled_ids(batch, axes["state_cache_size"], rng),
    }
