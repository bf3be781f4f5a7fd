"""Ground truth of attention: torch's scaled_dot_product_attention request by request, FlashInfer.

Outputs follow the conventions of the dataset: log-sum-exp in base 2, a query without keys gives 0
and -inf, a causal mask is aligned to the last key.
"""

from __future__ import annotations

import math

import torch

Tensors = dict[str, torch.Tensor]
WORKSPACE_BYTES = 256 << 20


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, *, causal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """One request: q [m, heads, d], k [n, kv heads, d], v [n, kv heads, e] -> output, lse.

    The output is SDPA's in float32. The log-sum-exp is computed apart, in float64 and base 2.
    """
    m, n, heads = len(q), len(k), q.shape[1]
    if n == 0:
        empty = torch.full((m, heads), -math.inf, device=q.device)
        return q.new_zeros(m, heads, v.shape[2], dtype=torch.float32), empty
    q, k, v = (x.transpose(0, 1).float() for x in (q, k, v))
    k, v = (x.repeat_interleave(heads // len(x), dim=0) for x in (k, v))
    last = torch.arange(m, device=q.device) + (n - m if causal else n)
    seen = torch.arange(n, device=q.device) <= last[:, None]
    out = torch.nn.functional.scaled_dot_product_attention(
        q[None], k[None], v[None], attn_mask=seen, scale=scale
    )[0]
    logits = (q.double() @ k.double().transpose(1, 2) * scale).masked_fill(~seen, -math.inf)
    top = logits.amax(dim=2, keepdim=True)
    powers = torch.exp2((logits - top) * math.log2(math.e)).sum(dim=2)
    lse = torch.log2(powers) + top[..., 0] * math.log2(math.e)
    return out.transpose(0, 1), lse.T.float()


def token_slots(inputs: Tensors, page_size: int, request: int) -> torch.Tensor:
    """Cache slots (page * page_size + offset) of a request's tokens, in order."""
    first, end = inputs["kv_indptr"][request : request + 2].tolist()
    length = (end - first) * page_size
    if length and "kv_last_page_len" in inputs:
        length += int(inputs["kv_last_page_len"][request]) - page_size
    pages = inputs["kv_indices"][first:end].long()
    offset = torch.arange(page_size, device=pages.device)
    return (pages[:, None] * page_size + offset).flatten()[:length]


def query_rows(inputs: Tensors, request: int) -> slice:
    """The query rows of a request; one each without qo_indptr."""
    if "qo_indptr" not in inputs:
        return slice(request, request + 1)
    return slice(*inputs["qo_indptr"][request : request + 2].tolist())


def torch_paged(inputs: Tensors) -> Tensors:
    """Grouped-query attention over pages, request by request."""
    q, page_size = inputs["q"], inputs["k_cache"].shape[1]
    k_tokens, v_tokens = inputs["k_cache"].flatten(0, 1), inputs["v_cache"].flatten(0, 1)
    output, lse = torch.zeros_like(q, dtype=torch.float32), q.new_zeros(q.shape[:2]).float()
    for request in range(len(inputs["kv_indptr"]) - 1):
        rows, slots = query_rows(inputs, request), token_slots(inputs, page_size, request)
        output[rows], lse[rows] = attend(
            q[rows], k_tokens[slots], v_tokens[slots], float(inputs["sm_scale"]), causal=True
        )
    return {"output": output, "lse": lse}


def torch_latent(inputs: Tensors) -> Tensors:
    """Latent attention over pages: keys [ckv, kpe] for all heads, values ckv."""
    q = torch.cat([inputs["q_nope"], inputs["q_pe"]], dim=2)
    keys = torch.cat([inputs["ckv_cache"], inputs["kpe_cache"]], dim=2)
    page_size, tokens = keys.shape[1], keys.flatten(0, 1)[:, None]
    width = inputs["ckv_cache"].shape[2]
    output = torch.zeros_like(inputs["q_nope"], dtype=torch.float32)
    lse = torch.zeros(q.shape[:2], device=q.device)
    for request in range(len(inputs["kv_indptr"]) - 1):
        rows, slots = query_rows(inputs, request), token_slots(inputs, page_size, request)
        k = tokens[slots]
        output[rows], lse[rows] = attend(
            q[rows], k, k[..., :width], float(inputs["sm_scale"]), causal=True
        )
    return {"output": output, "lse": lse}


def torch_ragged(inputs: Tensors) -> Tensors:
    """Attention over contiguous keys and values, request by request."""
    q, k, v = inputs["q"], inputs["k"], inputs["v"]
    output = torch.zeros(*q.shape[:2], v.shape[2], device=q.device)
    lse = torch.zeros(q.shape[:2], device=q.device)
    for request in range(len(inputs["kv_indptr"]) - 1):
        rows = query_rows(inputs, request)
        keys = slice(*inputs["kv_indptr"][request : request + 2].tolist())
        output[rows], lse[rows] = attend(
            q[rows], k[keys], v[keys], float(inputs["sm_scale"]), causal=True
        )
    return {"output": output, "lse": lse}


def torch_sparse(inputs: Tensors) -> Tensors:
    """Latent attention of each token to the slots that its row of sparse_indices names."""
    q = torch.cat([inputs["q_nope"], inputs["q_pe"]], dim=2)
    keys = torch.cat([inputs["ckv_cache"], inputs["kpe_cache"]], dim=2).flatten(0, 1)[:, None]
    width = inputs["ckv_cache"].shape[2]
    output = torch.zeros_like(inputs["q_nope"], dtype=torch.float32)
    lse = torch.zeros(q.shape[:2], device=q.device)
    for token, row in enumerate(inputs["sparse_indices"]):
        k = keys[row[row >= 0].long()]
        this = slice(token, token + 1)
        output[this], lse[this] = attend(
            q[this], k, k[..., :width], float(inputs["sm_scale"]), causal=False
        )
    return {"output": output, "lse": lse}


def workspace() -> torch.Tensor:
    """A zeroed scratch buffer for FlashInfer's wrappers."""
    return torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")


def last_page_len(inputs: Tensors) -> torch.Tensor:
    """kv_last_page_len; where a page holds one token: 1, and 0 for an empty request."""
    if "kv_last_page_len" in inputs:
        return inputs["kv_last_page_len"]
    return inputs["kv_indptr"].diff().clamp(max=1)


def without_empty(inputs: Tensors) -> tuple[Tensors, torch.Tensor]:
    """The requests that have keys, and a mask of their queries. A kernel leaves the others' results
    unwritten."""
    keys = inputs["kv_indptr"].diff()
    queries = inputs["qo_indptr"].diff() if "qo_indptr" in inputs else torch.ones_like(keys)
    kept = keys > 0
    rows = kept.repeat_interleave(queries.long())
    tables = {
        "kv_indptr": torch.cat([keys.new_zeros(1), keys[kept].cumsum(0)]).to(torch.int32),
        "qo_indptr": torch.cat([keys.new_zeros(1), queries[kept].cumsum(0)]).to(torch.int32),
        "kv_last_page_len": last_page_len(inputs)[kept],
    }
    tables |= {name: inputs[name][rows] for name in ("q", "q_nope", "q_pe") if name in inputs}
    return {**inputs, **tables}, rows


def with_empty(output: torch.Tensor, lse: torch.Tensor, rows: torch.Tensor) -> Tensors:
    """A kernel's results in all queries' order; 0 and -inf for those without keys."""
    full = output.new_zeros(len(rows), *output.shape[1:])
    full_lse = lse.new_full((len(rows), lse.shape[1]), -math.inf)
    full[rows], full_lse[rows] = output, lse
    return {"output": full, "lse": full_lse}


def flashinfer_paged_decode(inputs: Tensors) -> Tensors:
    """BatchDecodeWithPagedKVCacheWrapper."""
    import flashinfer

    inputs, rows = without_empty(inputs)
    q, k, v = inputs["q"], inputs["k_cache"], inputs["v_cache"]
    wrapper = flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper(
        workspace(), "NHD", use_tensor_cores=True
    )
    wrapper.plan(
        inputs["kv_indptr"],
        inputs["kv_indices"],
        inputs["kv_last_page_len"],
        q.shape[1],
        k.shape[2],
        q.shape[2],
        k.shape[1],
        q_data_type=q.dtype,
        kv_data_type=k.dtype,
        sm_scale=float(inputs["sm_scale"]),
    )
    return with_empty(*wrapper.run(q, (k, v), return_lse=True), rows)


def flashinfer_paged_prefill(inputs: Tensors) -> Tensors:
    """BatchPrefillWithPagedKVCacheWrapper, causal."""
    import flashinfer

    inputs, rows = without_empty(inputs)
    q, k, v = inputs["q"], inputs["k_cache"], inputs["v_cache"]
    wrapper = flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper(workspace(), "NHD")
    wrapper.plan(
        inputs["qo_indptr"],
        inputs["kv_indptr"],
        inputs["kv_indices"],
        inputs["kv_last_page_len"],
        q.shape[1],
        k.shape[2],
        q.shape[2],
        k.shape[1],
        causal=True,
        sm_scale=float(inputs["sm_scale"]),
        q_data_type=q.dtype,
        kv_data_type=k.dtype,
    )
    return with_empty(*wrapper.run(q, (k, v), return_lse=True), rows)


def flashinfer_ragged(inputs: Tensors) -> Tensors:
    """BatchPrefillWithRaggedKVCacheWrapper, causal; values may be narrower than keys."""
    import flashinfer

    inputs, rows = without_empty(inputs)
    q, k, v = inputs["q"], inputs["k"], inputs["v"]
    wrapper = flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper(workspace(), "NHD")
    wrapper.plan(
        inputs["qo_indptr"],
        inputs["kv_indptr"],
        q.shape[1],
        k.shape[1],
        q.shape[2],
        head_dim_vo=v.shape[2],
        causal=True,
        sm_scale=float(inputs["sm_scale"]),
        q_data_type=q.dtype,
        kv_data_type=k.dtype,
    )
    return with_empty(*wrapper.run(q, k, v, return_lse=True), rows)


def flashinfer_latent(inputs: Tensors) -> Tensors:
    """BatchMLAPagedAttentionWrapper, causal (for one query a request that hides nothing)."""
    import flashinfer

    inputs, rows = without_empty(inputs)
    q_nope, q_pe = inputs["q_nope"], inputs["q_pe"]
    ckv, kpe = inputs["ckv_cache"], inputs["kpe_cache"]
    page_size = ckv.shape[1]
    lengths = (inputs["kv_indptr"].diff() - 1) * page_size + inputs["kv_last_page_len"]
    wrapper = flashinfer.mla.BatchMLAPagedAttentionWrapper(workspace())
    wrapper.plan(
        inputs["qo_indptr"],
        inputs["kv_indptr"],
        inputs["kv_indices"],
        lengths.to(torch.int32),
        q_nope.shape[1],
        ckv.shape[2],
        kpe.shape[2],
        page_size,
        True,
        float(inputs["sm_scale"]),
        q_nope.dtype,
        ckv.dtype,
    )
    return with_empty(*wrapper.run(q_nope, q_pe, ckv, kpe, return_lse=True), rows)


def flashinfer_sparse(inputs: Tensors) -> Tensors:
    """BatchMLAPagedAttentionWrapper over pages of one token: each token is a request, its pages
    are the slots that its row of sparse_indices names."""
    named = inputs["sparse_indices"] >= 0
    counts = named.sum(dim=1).cumsum(0)
    dense = {
        "q_nope": inputs["q_nope"],
        "q_pe": inputs["q_pe"],
        "ckv_cache": inputs["ckv_cache"].flatten(0, 1)[:, None],
        "kpe_cache": inputs["kpe_cache"].flatten(0, 1)[:, None],
        "kv_indptr": torch.cat([counts.new_zeros(1), counts]).to(torch.int32),
        "kv_indices": inputs["sparse_indices"][named],
        "sm_scale": inputs["sm_scale"],
    }
    return flashinfer_latent(dense)
