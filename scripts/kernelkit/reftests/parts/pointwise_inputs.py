"""Inputs of norms, matrix products, rotary embedding and sampling."""

from __future__ import annotations

import torch

from kernelkit.reftests.parts.draws import normal

ROWS = 4  # different rows of probabilities; each is drawn from many times


def rmsnorm_inputs(axes: dict[str, int], rng: torch.Generator) -> dict[str, torch.Tensor]:
    """Rows of very different size: in the smallest ones the epsilon counts."""
    shape = axes["batch_size"], axes["hidden_size"]
    sizes = 10.0 ** (torch.arange(shape[0], device=rng.device) % 5 - 3.0)[:, None]
    return {
        "hidden_states": normal(shape, rng) * sizes,
        "residual": normal(shape, rng) * sizes,
        "weight": normal(shape[1:], rng),
    }


def gemm_inputs(axes: dict[str, int], rng: torch.Generator) -> dict[str, torch.Tensor]:
    """Activations near one, weights of variance 1/K, so that C is near one."""
    rows, columns, depth = axes["M"], axes["N"], axes["K"]
    return {"A": normal((rows, depth), rng), "B": normal((columns, depth), rng, depth**-0.5)}


def rope_inputs(axes: dict[str, int], rng: torch.Generator) -> dict[str, torch.Tensor]:
    """Random positions, and the cosines and sines of theta 10000."""
    tokens, size, positions = axes["num_tokens"], axes["rotary_dim"], axes["max_seq_len"]
    frequency = 10000.0 ** (-torch.arange(0, size, 2, device=rng.device).double() / size)
    angle = torch.arange(positions, device=rng.device).double()[:, None] * frequency
    return {
        "q": normal((tokens, axes["num_qo_heads"], axes["head_size"]), rng),
        "k": normal((tokens, axes["num_kv_heads"], axes["head_size"]), rng),
        "cos_sin_cache": torch.cat([angle.cos(), angle.sin()], dim=1).float(),
        "positions": torch.randint(positions, (tokens,), generator=rng, device=rng.device),
    }


def sampling_inputs(axes: dict[str, int], rng: torch.Generator) -> dict[str, torch.Tensor]:
    """ROWS peaked rows with filters of their own, each repeated: as many draws of each."""
    draws = -(-axes["batch_size"] // ROWS)
    probs = torch.softmax(normal((ROWS, axes["vocab_size"]), rng, 3.0), dim=1)
    top_k = torch.tensor([1, 3, 8, 20], device=rng.device)
    top_p = torch.tensor([0.9, 0.5, 0.2, 0.7], device=rng.device)
    values = {"probs": probs, "top_k": top_k, "top_p": top_p}
    repeated = {name: value.repeat_interleave(draws, dim=0) for name, value in values.items()}
    return {name: value[: axes["batch_size"]] for name, value in repeated.items()}
