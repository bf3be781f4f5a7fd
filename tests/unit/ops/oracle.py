"""Attention written again, one request, head and query at a time, in float64."""

from __future__ import annotations

import math
from typing import Any

import torch

from kernelkit.dataset.definition import Definition

Tensors = tuple[torch.Tensor, torch.Tensor]


def execute(definition: Definition, inputs: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """The definition's own text, on inputs that must not change."""
    before = {k: v.clone() for k, v in inputs.items() if isinstance(v, torch.Tensor)}
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    outputs = namespace["run"](*inputs.values())
    for name, value in before.items():
        same = torch.equal(value.view(torch.uint8), inputs[name].view(torch.uint8))
        assert same, f"the reference changed {name}"
    return outputs if isinstance(outputs, tuple) else (outputs,)


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, sm_scale: float, *, causal: bool
) -> Tensors:
    """q [m, H, d], k [n, KV, d], v [n, KV, e] -> output [m, H, e], lse [m, H] in base 2."""
    (m, heads, _), (n, kv_heads, _) = q.shape, k.shape
    q, k, v = q.double(), k.double(), v.double()
    output = torch.zeros(m, heads, v.shape[2], dtype=torch.float64)
    lse = torch.full((m, heads), -math.inf, dtype=torch.float64)
    for i in range(m):
        seen = n - m + i + 1 if causal else n
        for h in range(heads):
            g = h // (heads // kv_heads)
            if seen <= 0:
                continue
            logits = [float(q[i, h] @ k[j, g]) * sm_scale for j in range(seen)]
            top = max(logits)
            weights = torch.tensor([math.exp(x - top) for x in logits], dtype=torch.float64)
            output[i, h] = (weights / weights.sum()) @ v[:seen, g]
            lse[i, h] = (top + math.log(float(weights.sum()))) / math.log(2.0)
    return output, lse


def pages_of(kv_lens: list[int], page_size: int, num_pages: int) -> dict[str, torch.Tensor]:
    """A page table with pages in random order."""
    counts = [-(-n // page_size) for n in kv_lens]
    order = torch.randperm(num_pages, generator=torch.Generator().manual_seed(1))
    table = {
        "kv_indptr": torch.tensor([0, *counts]).cumsum(0).to(torch.int32),
        "kv_indices": order[: sum(counts)].to(torch.int32),
    }
    if page_size > 1:
        last = [n - (c - 1) * page_size if c else 0 for n, c in zip(kv_lens, counts, strict=True)]
        table["kv_last_page_len"] = torch.tensor(last, dtype=torch.int32)
    return table


def cached(cache: torch.Tensor, table: dict[str, torch.Tensor], b: int, n: int) -> torch.Tensor:
    """The n cached tokens of request b, token by token."""
    page_size, start = cache.shape[1], int(table["kv_indptr"][b])
    ids = table["kv_indices"]
    rows = [cache[int(ids[start + j // page_size]), j % page_size] for j in range(n)]
    return torch.stack(rows) if rows else cache[:0, 0]


def assert_close(got: Tensors, want: Tensors) -> None:
    """bfloat16 outputs and float32 LSE against float64; infinities at the same places."""
    output, lse = got
    assert lse.dtype == torch.float32
    assert not output.isnan().any() and not lse.isnan().any()
    torch.testing.assert_close(output.double(), want[0], atol=4e-3, rtol=8e-3)
    torch.testing.assert_close(lse.double(), want[1], atol=1e-4, rtol=1e-5)
