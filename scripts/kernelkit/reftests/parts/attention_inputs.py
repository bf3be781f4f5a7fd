"""Inputs of attention: requests of different lengths, pages in random order, not all full."""

from __future__ import annotations

import torch

from kernelkit.reftests.parts.draws import normal, offsets, shuffled_ids, split

Inputs = dict[str, torch.Tensor | float]
NOPE_DIM = 128  # of MLA's query and key before absorption: it is no axis, but in the softmax scale


def page_table(axes: dict[str, int], rng: torch.Generator) -> tuple[Inputs, list[int]]:
    """kv_indptr, kv_indices and kv_last_page_len, and the cached tokens of each request.

    Of three or more requests the second is empty, unless it has queries.
    """
    requests, size = axes["len_indptr"] - 1, axes["page_size"]
    pages = split(axes["num_kv_indices"], requests, rng)
    if requests > 2 and "total_q" not in axes:
        pages[0], pages[1] = pages[0] + pages[1], 0
    last = torch.randint(1, size + 1, (requests,), generator=rng, device=rng.device).tolist()
    last = [tokens if count else 0 for tokens, count in zip(last, pages, strict=True)]
    lengths = [max(0, n - 1) * size + tokens for n, tokens in zip(pages, last, strict=True)]
    table: Inputs = {
        "kv_indptr": offsets(pages, rng, torch.int32),
        "kv_indices": shuffled_ids(axes["num_kv_indices"], axes["num_pages"], rng),
        "kv_last_page_len": torch.tensor(last, dtype=torch.int32, device=rng.device),
    }
    if "total_q" in axes:
        queries = query_lengths(axes["total_q"], lengths)
        table["qo_indptr"] = offsets(queries, rng, torch.int32)
    return table, lengths


def query_lengths(total: int, lengths: list[int]) -> list[int]:
    """`total` queries over requests, none with more queries than keys."""
    if total > sum(lengths):
        raise ValueError(f"{total} queries for {sum(lengths)} keys: no causal lengths")
    queries = [total * length // max(1, sum(lengths)) for length in lengths]
    for request, length in enumerate(lengths):
        queries[request] += min(length - queries[request], total - sum(queries))
    return queries


def gqa_paged_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Normal q, k and v; the scale 1 / sqrt(head_dim)."""
    table, _ = page_table(axes, rng)
    rows = axes["total_q"] if "total_q" in axes else axes["batch_size"]
    heads, size = axes["num_kv_heads"], axes["head_dim"]
    cache = axes["num_pages"], axes["page_size"], heads, size
    return {
        "q": normal((rows, axes["num_qo_heads"], size), rng),
        "k_cache": normal(cache, rng),
        "v_cache": normal(cache, rng),
        "sm_scale": size**-0.5,
        **table,
    }


def mla_paged_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Normal queries and latent caches; the scale of the head dim before absorption."""
    table, _ = page_table(axes, rng)
    rows = axes["total_q"] if "total_q" in axes else axes["batch_size"]
    return {**latent_inputs(axes, rows, rng), **table}


def latent_inputs(axes: dict[str, int], rows: int, rng: torch.Generator) -> Inputs:
    """Normal queries [rows, heads, *] and caches [pages, page size, *]."""
    latent, rope = axes["head_dim_ckv"], axes["head_dim_kpe"]
    pages = axes["num_pages"], axes["page_size"]
    return {
        "q_nope": normal((rows, axes["num_qo_heads"], latent), rng),
        "q_pe": normal((rows, axes["num_qo_heads"], rope), rng),
        "ckv_cache": normal((*pages, latent), rng),
        "kpe_cache": normal((*pages, rope), rng),
        "sm_scale": (NOPE_DIM + rope) ** -0.5,
    }


def ragged_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Normal q, k and v; each request has as many keys as queries or more."""
    requests = axes["len_indptr"] - 1
    queries = split(axes["total_q"], requests, rng)
    history = split(axes["total_kv"] - axes["total_q"], requests, rng)
    lengths = [q + past for q, past in zip(queries, history, strict=True)]
    size = axes["qk_dim"] if "qk_dim" in axes else axes["head_dim"]
    keys = axes["total_kv"], axes["num_kv_heads"]
    return {
        "q": normal((axes["total_q"], axes["num_qo_heads"], size), rng),
        "k": normal((*keys, size), rng),
        "v": normal((*keys, axes["vo_dim"] if "vo_dim" in axes else size), rng),
        "qo_indptr": offsets(queries, rng, torch.int32),
        "kv_indptr": offsets(lengths, rng, torch.int32),
        "sm_scale": size**-0.5,
    }


def dsa_sparse_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """Distinct cache slots for each token in random order, the last of them padding (-1)."""
    tokens, topk = axes["num_tokens"], axes["topk"]
    slots = axes["num_pages"] * axes["page_size"]
    order = torch.rand(tokens, slots, generator=rng, device=rng.device).argsort(dim=1)
    indices = torch.full((tokens, topk), -1, dtype=torch.int32, device=rng.device)
    seen = min(slots, topk)
    indices[:, :seen] = order[:, :seen].to(torch.int32)
    filled = torch.randint(topk // 2, topk + 1, (tokens, 1), generator=rng, device=rng.device)
    indices.masked_fill_(torch.arange(topk, device=rng.device) >= filled, -1)
    return {**latent_inputs(axes, tokens, rng), "sparse_indices": indices}


def dsa_indexer_inputs(axes: dict[str, int], rng: torch.Generator) -> Inputs:
    """A cache of float8 keys, then float32 scales, page by page as bytes; lengths and page ids."""
    pages, size, dim = axes["num_pages"], axes["page_size"], axes["index_head_dim"]
    batch, heads, width = axes["batch_size"], axes["num_index_heads"], axes["max_num_pages"]
    keys = normal((pages, size, dim), rng)
    scales = keys.abs().amax(dim=2) / 448.0
    quantised = (keys / scales[..., None]).to(torch.float8_e4m3fn).view(torch.uint8)
    raw = torch.cat([quantised.flatten(1), scales.view(torch.uint8).view(pages, -1)], dim=1)
    most = width * size
    lengths = torch.randint(most // 2, most + 1, (batch,), generator=rng, device=rng.device)
    return {
        "q_index_fp8": normal((batch, heads, dim), rng),
        "k_index_cache_fp8": raw.view(torch.int8).view(pages, size, 1, dim + 4),
        "weights": normal((batch, heads), rng, heads**-0.5),
        "seq_lens": lengths.to(torch.int32),
        "block_table": shuffled_ids(batch * width, pages, rng).view(batch, width),
    }
