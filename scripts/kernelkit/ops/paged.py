"""What the attention families share: page tables of ragged requests, scales, and their cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit.dataset.definition import AxisConst, AxisVar, Definition, TensorSpec
from kernelkit.errors import UsageError
from kernelkit.ops import base
from kernelkit.ops.base import Axes, Cost, Inputs, Tolerance

if TYPE_CHECKING:
    import torch

# Log-sum-exps are logarithms: their absolute error is a relative one of the sum, at any length. A
# query that is scaled in bfloat16 before the products moves them by up to 1e-2.
LSE_TOLERANCE = Tolerance(atol=1e-2, rtol=1e-3, of_rms=None)
# Elements as in the dataset's reference tests; bfloat16 outputs of values near one. Rows: kernels
# that round weights, output and scaled query to bfloat16 are off by up to 0.5 %, one that scales
# by 1.02 by 2 %.
TOLERANCE = Tolerance(
    atol=1e-2, rtol=5e-2, row_error=0.015, gain_error=0.01, each={"lse": LSE_TOLERANCE}
)

INDPTR = {
    "qo_indptr": base.tensor("len_indptr", "int32", "First query row of each request."),
    "kv_indptr": base.tensor("len_indptr", "int32", "First entry of each request in kv_indices."),
}
SM_SCALE = base.tensor(None, "float32", "Softmax scale.")


def page_inputs(prefill: bool, page_size: int) -> dict[str, TensorSpec]:
    """The page-table inputs of a paged definition, in order, without sm_scale."""
    specs = dict(INDPTR) if prefill else {"kv_indptr": INDPTR["kv_indptr"]}
    unit = "Token" if page_size == 1 else "Page"
    specs["kv_indices"] = base.tensor("num_kv_indices", "int32", f"{unit} ids, request by request.")
    if page_size > 1:
        text = "Tokens in each request's last page; 0 for an empty request."
        specs["kv_last_page_len"] = base.tensor("batch_size", "int32", text)
    return specs


def page_axes(prefill: bool, page_size: int) -> dict[str, AxisConst | AxisVar]:
    """The axes that page tables bring, in the dataset's order, without those of heads."""
    indices = base.var("Number of entries of kv_indices.")
    if not prefill:
        return {
            "num_pages": base.var("Pages of the cache."),
            "page_size": base.const(page_size),
            "len_indptr": base.var("Number of requests + 1."),
            "num_kv_indices": indices,
        }
    axes: dict[str, AxisConst | AxisVar] = {
        "page_size": base.const(page_size),
        "len_indptr": base.var("Number of requests + 1."),
        "total_q": base.var("Query tokens of all requests."),
        "num_kv_indices": indices,
        "num_pages": base.var("Pages of the cache."),
    }
    if page_size > 1:
        axes["batch_size"] = base.var("Number of requests.")
    return axes


def constraints(prefill: bool) -> list[str]:
    """How the index tensors bind the axes."""
    first = "total_q == qo_indptr[-1].item()" if prefill else "len_indptr == batch_size + 1"
    return [first, "num_kv_indices == kv_indptr[-1].item()"]


def split(total: int, parts: int, rng: torch.Generator) -> torch.Tensor:
    """`total` as `parts` integers of very different size, at least 1 each where total allows."""
    import torch

    if parts == 0:
        return torch.zeros(0, dtype=torch.int64)
    least = 1 if total >= parts else 0
    weights = torch.rand(parts, generator=rng).square() + 0.02
    bounds = (weights.cumsum(0) / weights.sum() * (total - least * parts)).long()
    bounds[-1] = total - least * parts
    return torch.diff(bounds, prepend=bounds.new_zeros(1)) + least


def indptr(counts: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Offsets of consecutive ranges: 0, then the running sum; int32 unless `dtype` says."""
    import torch

    total = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return total.to(dtype or torch.int32)


def page_ids(count: int, num_pages: int, rng: torch.Generator) -> torch.Tensor:
    """`count` page ids in random order, distinct as far as there are pages (then shared)."""
    import torch

    if count and not num_pages:
        raise UsageError("a cache without pages cannot be indexed", received=f"{count} indices")
    rounds = [
        torch.randperm(num_pages, generator=rng) for _ in range(-(-count // max(1, num_pages)))
    ]
    ids = torch.cat(rounds) if rounds else torch.zeros(0, dtype=torch.int64)
    return ids[:count].to(torch.int32)


def decode_tables(definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
    """kv_indptr, kv_indices and kv_last_page_len for one query token a request."""
    import torch

    batch = _requests(definition, axes)
    pages = split(axes["num_kv_indices"], batch, rng)
    tables: Inputs = {
        "kv_indptr": indptr(pages),
        "kv_indices": page_ids(axes["num_kv_indices"], axes["num_pages"], rng),
    }
    if "kv_last_page_len" in definition.inputs:
        size = definition.const_axes["page_size"]
        last = torch.randint(1, size + 1, (batch,), generator=rng)
        tables["kv_last_page_len"] = torch.where(pages > 0, last, 0).to(torch.int32)
    return tables


def prefill_tables(definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
    """qo_indptr and page tables with kv_len >= q_len for each request.

    Raises UsageError where num_kv_indices pages cannot hold total_q tokens.
    """
    import torch

    batch, size = _requests(definition, axes), definition.const_axes["page_size"]
    q_lens = split(axes["total_q"], batch, rng)
    needed = (q_lens + size - 1) // size
    spare = axes["num_kv_indices"] - int(needed.sum())
    if spare < 0:  # as even as can be needs the fewest pages
        q_lens = torch.diff(torch.arange(batch + 1) * axes["total_q"] // max(1, batch))
        needed = (q_lens + size - 1) // size
        spare = axes["num_kv_indices"] - int(needed.sum())
    if spare < 0:
        raise UsageError(
            f"{definition.name}: fewer cached tokens than query tokens",
            received=f"total_q={axes['total_q']}, num_kv_indices={axes['num_kv_indices']}",
        )
    pages = needed + split(spare, batch, rng)
    tables: Inputs = {
        "qo_indptr": indptr(q_lens),
        "kv_indptr": indptr(pages),
        "kv_indices": page_ids(axes["num_kv_indices"], axes["num_pages"], rng),
    }
    if "kv_last_page_len" in definition.inputs:
        least = (q_lens - (pages - 1) * size).clamp(min=1)
        last = least + (torch.rand(batch, generator=rng) * (size - least + 1)).long()
        tables["kv_last_page_len"] = torch.where(pages > 0, last, 0).to(torch.int32)
    return tables


def _requests(definition: Definition, axes: Axes) -> int:
    """The number of requests. Raises UsageError where two axes disagree on it."""
    count = axes["len_indptr"] - 1
    if count < 0 or axes.get("batch_size", count) != count:
        raise UsageError(
            f"{definition.name}: axes contradict each other",
            received=f"batch_size={axes.get('batch_size')}, len_indptr={axes['len_indptr']}",
            allowed="len_indptr == batch_size + 1",
        )
    return count


def lengths(inputs: Inputs, page_size: int) -> tuple[list[int] | None, list[int]]:
    """Query and cached tokens of each request, from recorded index tensors."""
    pages = (inputs["kv_indptr"][1:] - inputs["kv_indptr"][:-1]).tolist()
    last = inputs["kv_last_page_len"].tolist() if "kv_last_page_len" in inputs else None
    kv_lens = [
        (count - 1) * page_size + (last[i] if last else page_size) if count else 0
        for i, count in enumerate(pages)
    ]
    if "qo_indptr" not in inputs:
        return None, kv_lens
    return (inputs["qo_indptr"][1:] - inputs["qo_indptr"][:-1]).tolist(), kv_lens


def even(total: int, parts: int) -> list[float]:
    """`total` in equal parts: what is assumed of lengths that are not known."""
    return [total / parts] * parts if parts else []


def visible_pairs(q_lens: list[float], kv_lens: list[float]) -> float:
    """Query-key pairs under the bottom-right causal mask: q * kv - q * (q - 1) / 2 a request."""
    return sum(q * kv - q * (q - 1) / 2 for q, kv in zip(q_lens, kv_lens, strict=True) if kv)


def attention_cost(
    definition: Definition, axes: Axes, inputs: Inputs | None, token_bytes: float, pair_flops: float
) -> Cost:
    """Cost of paged attention: each cached token is read once, each visible pair computed.

    Bytes: all inputs and outputs but the caches, plus `token_bytes` for each cached token (what
    FlashInfer's benchmarks count). FLOPs: `pair_flops` for each query-key pair.
    """
    size = definition.const_axes["page_size"]
    if inputs is not None:
        q_lens, kv_lens = lengths(inputs, size)
    else:
        requests = axes["len_indptr"] - 1
        q_lens = even(axes["total_q"], requests) if "total_q" in axes else None
        kv_lens = even(axes["num_kv_indices"] * size, requests)
    pairs = sum(kv_lens) if q_lens is None else visible_pairs(q_lens, kv_lens)
    names = [*definition.inputs, *definition.outputs]
    rest = sum(base.tensor_bytes(definition, n, axes) for n in names if not n.endswith("_cache"))
    return Cost(rest + sum(kv_lens) * token_bytes, pairs * pair_flops)


def small_axes(definition: Definition) -> dict[str, int]:
    """Three requests over a cache that is larger than what they use."""
    prefill = "total_q" in definition.axes
    axes = {
        "batch_size": 3,
        "len_indptr": 4,
        "num_kv_indices": 11,
        "num_pages": 17,
        "total_q": 7,
        "total_kv": 12,
    }
    if prefill and "batch_size" not in definition.axes:
        del axes["batch_size"]
    return {name: axes[name] for name in definition.var_axes}
