"""Awkward calls of every family for the fast kernels: small for Triton's interpreter, large for a
GPU. A case is a label, a definition and its inputs."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import torch

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family

Case = tuple[str, Definition, dict[str, Any]]  # label, definition, inputs


def paged(
    definition: Definition, lengths: list[int], device: str, seed: int = 3, pages: int = 0,
    more: tuple[dict[str, int], dict[str, Any]] = ({}, {}),
) -> dict[str, Any]:  # fmt: skip
    """Inputs for requests of these lengths; pages that nobody owns, and what no request has of its
    last page, hold NaN. `more`: further axes and inputs."""
    size = definition.const_axes["page_size"]
    counts = [-(-length // size) for length in lengths]
    used = sum(counts)
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(used + 5, generator=rng) + max(0, pages - used - 5)
    given = {
        "kv_indptr": torch.tensor([0, *counts]).cumsum(0).to(torch.int32),
        "kv_indices": order[:used].to(torch.int32),
        **more[1],
    }
    last = [length - (count - 1) * size for length, count in zip(lengths, counts, strict=True)]
    if "kv_last_page_len" in definition.inputs:
        tails = [tail if length else 0 for tail, length in zip(last, lengths, strict=True)]
        given["kv_last_page_len"] = torch.tensor(tails, dtype=torch.int32)
    axes = {"batch_size": len(lengths), "len_indptr": len(lengths) + 1, "num_kv_indices": used,
            "num_pages": max(pages, used + 5), **more[0]}  # fmt: skip
    axes = {name: size for name, size in axes.items() if name in definition.var_axes}
    op = family(definition.op_type)
    inputs = op.make_inputs(definition, axes, seed=seed, device=device, given=given)
    owned = torch.zeros(axes["num_pages"] * size, dtype=torch.bool)
    for request, length in enumerate(lengths):
        start = int(given["kv_indptr"][request])
        for page in range(counts[request]):
            first = int(given["kv_indices"][start + page]) * size
            owned[first : first + min(size, length - page * size)] = True
    for name in inputs:
        if name.endswith("_cache"):
            inputs[name].flatten(0, 1)[~owned.to(device)] = math.nan
    return inputs


def plain(definition: Definition, axes: dict[str, int], device: str) -> dict[str, Any]:
    """The family's own inputs."""
    return family(definition.op_type).make_inputs(definition, axes, seed=4, device=device)


SHORT = ([1], [0, 0, 5, 0], [65, 0, 129, 2, 40])  # few: the interpreter is slow
LONG = (*SHORT, [70], [0], [3, 0, 33, 64, 1], [1] * 300, [0, 4097, 3, 12000, 0], [511] * 70,
        [40000])  # fmt: skip


def gqa(device: str) -> Iterator[Case]:
    """Ratios 1, 5, 8 and 16, odd dims, pages of 1 and 64."""
    make = family("gqa_paged").definition
    shapes = [(2, 2, 24, 1), (10, 2, 16, 1), (8, 1, 16, 64), (16, 1, 16, 4)]
    if device != "cpu":
        shapes = [(32, 8, 128, 1), (32, 8, 128, 64), (40, 8, 128, 1), (8, 8, 64, 1),
                  (16, 1, 256, 1), (128, 8, 128, 16), (4, 2, 24, 1)]  # fmt: skip
    for shape in shapes:
        definition = make(*shape, prefill=False)
        for lengths in SHORT if device == "cpu" else LONG:
            yield f"lengths {lengths[:8]}", definition, paged(definition, lengths, device)
    if device != "cpu":
        definition = make(32, 8, 128, 1, prefill=False)
        inputs = paged(definition, [777, 0, 30], device, pages=(1 << 21) + 4096)
        yield "element offsets above 2^31", definition, inputs


def mla(device: str) -> Iterator[Case]:
    """Pages of 1 and 64; more heads than a block of heads, and fewer."""
    make = family("mla_paged").definition
    shapes = [(20, 128, 16, 1), (4, 32, 16, 64)]
    if device != "cpu":
        shapes = [(16, 512, 64, 1), (128, 512, 64, 1), (16, 512, 64, 64), (20, 256, 32, 1)]
    for shape in shapes:
        definition = make(*shape, prefill=False)
        for lengths in SHORT if device == "cpu" else LONG:
            yield f"lengths {lengths[:8]}", definition, paged(definition, lengths, device)
    if device != "cpu":
        definition = make(16, 512, 64, 1, prefill=False)
        inputs = paged(definition, [777, 0, 30], device, pages=(1 << 22) + 4096)
        yield "element offsets above 2^31", definition, inputs


def norms(device: str) -> Iterator[Case]:
    """All four forms, sizes that are no power of two, few rows and many."""
    make = family("rmsnorm").definition
    sizes = (100,) if device == "cpu" else (128, 1536, 4096, 7168, 16384)
    for size in sizes:
        for fused, gemma in ((False, False), (True, False), (False, True), (True, True)):
            definition = make(size, 1e-5, fused=fused, gemma=gemma)
            for rows in (0, 3) if device == "cpu" else (0, 1, 7, 128, 129, 2049, 16384):
                yield f"{rows} rows", definition, plain(definition, {"batch_size": rows}, device)
    if device != "cpu":
        definition = make(16384, 1e-5)
        inputs = plain(definition, {"batch_size": (1 << 17) + 3}, device)
        yield "element offsets above 2^31", definition, inputs


def gemm(device: str) -> Iterator[Case]:
    """Sizes that no block divides, few rows and many."""
    make = family("gemm").definition
    sizes = ((40, 72), (200, 520)) if device == "cpu" else (
        (40, 72), (128, 2048), (4096, 4096), (6144, 4096), (28672, 4096), (4096, 14336)
    )  # fmt: skip
    for n, k in sizes:
        definition = make(n, k)
        for rows in (0, 17, 70) if device == "cpu" else (1, 3, 16, 17, 33, 64, 65, 300):
            yield f"{rows} rows", definition, plain(definition, {"M": rows}, device)


def gdn(device: str) -> Iterator[Case]:
    """Given scales and none, no state, value heads in groups."""
    make = family("gdn").definition
    shapes = ((2, 4, 16), (2, 2, 24)) if device == "cpu" else ((4, 8, 128), (16, 32, 128))
    for qk, heads, size in shapes:
        definition = make(qk, heads, size, stage="decode")
        for batch in (2,) if device == "cpu" else (1, 2, 3, 64, 257):
            for given in ({}, {"scale": 0.0}, {"scale": None, "state": None}, {"scale": 0.5}):
                inputs = plain(definition, {"batch_size": batch}, device)
                yield f"batch {batch}, {list(given)}", definition, {**inputs, **given}


def mtp(device: str) -> Iterator[Case]:
    """Padding, slots that requests share, slots that nobody uses, fewer slots than requests."""
    shapes = ((2, 4, 16), (2, 2, 24)) if device == "cpu" else ((4, 8, 128), (16, 32, 128))
    for shape in shapes:
        definition = family("gdn").definition(*shape, stage="mtp")
        for slots, pool in pools(device):
            axes = {"batch_size": len(slots), "seq_len": 3, "pool_size": pool}
            inputs = plain(definition, axes, device)
            inputs["initial_state_indices"] = torch.tensor(slots, dtype=torch.int32, device=device)
            for given in ({}, {"scale": None}):
                yield f"slots {slots[:6]} of {pool}", definition, {**inputs, **given}
    if device != "cpu":
        definition = family("gdn").definition(16, 32, 128, stage="mtp")
        axes = {"batch_size": 2, "seq_len": 3, "pool_size": (1 << 12) + 5}
        inputs = plain(definition, axes, device)
        last = torch.tensor([(1 << 12) + 4, 1], dtype=torch.int32, device=device)
        yield "element offsets above 2^31", definition, {**inputs, "initial_state_indices": last}


def gdn_prefill(device: str) -> Iterator[Case]:
    """Sequences that end in a chunk, at its end, one token after; empty ones; no state; repeated
    keys, whose products do not fade."""
    shapes = ((2, 4, 16), (2, 2, 24)) if device == "cpu" else ((4, 8, 128), (16, 32, 128))
    few = ((0, 65, 0, 3), (64,), (1, 129))
    many = (*few, (8192,), (2048,) * 8, (300, 1, 64, 1000, 0, 63, 65, 128), (1,) * 200)
    for shape in shapes:
        definition = family("gdn").definition(*shape, stage="prefill")
        for lengths in few if device == "cpu" else many:
            inputs = sequences(definition, lengths, device)
            name = f"lengths {lengths[:6]}"
            for given in ({}, {"scale": None, "state": None}):
                yield f"{name}, {list(given)}", definition, {**inputs, **given}
        if device == "cpu":  # with S rounded to bfloat16 no kernel keeps the tolerance here
            alike = {n: inputs[n][:1].expand_as(inputs[n]).contiguous() for n in ("q", "k")}
            slow = {"a": inputs["a"] - 8.0, "b": inputs["b"] + 4.0}
            yield f"{name}, one key", definition, {**inputs, **alike, **slow}
    if device != "cpu":
        inputs = sequences(definition, (2049,) * 256, device)
        yield "element offsets above 2^31", definition, inputs


def sequences(definition: Definition, lengths: Sequence[int], device: str) -> dict[str, Any]:
    """Inputs of GDN prefill for sequences of these lengths."""
    axes = {"total_seq_len": sum(lengths), "num_seqs": len(lengths),
            "len_cu_seqlens": len(lengths) + 1}  # fmt: skip
    ends = torch.tensor((0, *lengths), device=device).cumsum(0)
    return {**plain(definition, axes, device), "cu_seqlens": ends}


def mamba(device: str) -> Iterator[Case]:
    """Both types of states, padding, slots that nobody uses."""
    make = family("mamba_ssu").definition
    shapes = ((4, 16, 24, 2), (2, 12, 16, 1))
    if device != "cpu":
        shapes = ((64, 64, 128, 8), (128, 64, 128, 1), (24, 80, 96, 1))
    for shape in shapes:
        for kind in ("bfloat16", "float32"):
            definition = make(*shape, state_dtype=kind)
            for slots, pool in pools(device, distinct=True):
                axes = {"batch_size": len(slots), "state_cache_size": pool}
                inputs = plain(definition, axes, device)
                named = torch.tensor(slots, dtype=torch.int32, device=device)
                inputs["state_batch_indices"] = named
                yield f"slots {slots[:6]} of {pool}", definition, inputs
    if device != "cpu":
        definition = make(64, 64, 128, 1)
        axes = {"batch_size": 2, "state_cache_size": (1 << 12) + 5}
        last = torch.tensor([(1 << 12) + 4, 1], dtype=torch.int32, device=device)
        inputs = {**plain(definition, axes, device), "state_batch_indices": last}
        yield "element offsets above 2^31", definition, inputs


def sparse(device: str) -> Iterator[Case]:
    """Padding here and there, a token of nothing else, a token without any; NaN in slots that
    nobody names."""
    make = family("dsa_paged").sparse
    shapes = ((20, 128, 16, 40, 4), (4, 32, 16, 70, 1))
    counts = (1, 3)
    if device != "cpu":
        shapes = ((16, 512, 64, 2048, 64), (128, 512, 64, 2048, 64), (16, 512, 64, 2048, 1))
        counts = (1, 3, 64, 1000)
    for shape in shapes:
        definition, topk, size = make(*shape), shape[3], shape[4]
        for tokens in counts:
            rng = torch.Generator().manual_seed(tokens)
            axes = {"num_tokens": tokens, "num_pages": 2 * -(-topk // size) + 3}
            inputs = plain(definition, axes, device)
            slots = axes["num_pages"] * size
            named = torch.stack([torch.randperm(slots - size, generator=rng)[:topk] + size
                                 for _ in range(tokens)])  # fmt: skip
            named[torch.rand(tokens, topk, generator=rng) < 0.3] = -1
            named[tokens // 2, : topk // 2] = -1
            named[1:2] = -1
            inputs["sparse_indices"] = named.to(torch.int32).to(device)
            for name in ("ckv_cache", "kpe_cache"):
                unused = torch.ones(slots, dtype=torch.bool)
                unused[named[named >= 0]] = False
                inputs[name].flatten(0, 1)[unused.to(device)] = math.nan
            yield f"{tokens} tokens", definition, inputs
    if device != "cpu":
        inputs = plain(definition, {"num_tokens": 3, "num_pages": (1 << 22) + 4096}, device)
        inputs["sparse_indices"] = ((1 << 22) + torch.arange(3 * 2048) % 4096).view(3, 2048)
        inputs["sparse_indices"] = inputs["sparse_indices"].to(torch.int32).to(device)
        yield "element offsets above 2^31", definition, inputs


def indexer(device: str) -> Iterator[Case]:
    """Lengths about topk, about pages and blocks; all tokens alike, no weight above 0; NaN in pages
    that nobody owns and behind the last token of each request."""
    make = family("dsa_paged").indexer
    shapes, many = ((5, 24, 40), (16, 32, 70)), ([[200]], [[0, 41, 40, 1, 64, 500], []])
    if device != "cpu":
        shapes = ((64, 128, 2048), (32, 128, 2048), (64, 128, 512))
        many = ([[2048]], [[0, 5, 8192, 4097, 2049, 2048]], [[131071, 3, 16385]], [[4000] * 40])
    for shape, lengths in ((s, each) for s in shapes for group in many for each in group):
        definition = make(*shape)
        inputs = indexed(definition, lengths, device)
        yield f"lengths {lengths[:8]}", definition, inputs
        ties = {**inputs, "weights": torch.full_like(inputs["weights"], -0.0)}
        yield f"lengths {lengths[:8]}, ties", definition, ties
        below = {**inputs, "weights": -inputs["weights"].abs()}
        yield f"lengths {lengths[:8]}, none above 0", definition, below
    if device != "cpu":
        inputs = indexed(definition, [4000, 3, 9999], device)
        small = inputs["k_index_cache_fp8"]
        large = small.new_zeros((1 << 18) + len(small), *small.shape[1:])
        large[1 << 18 :] = small
        moved = {"k_index_cache_fp8": large, "block_table": inputs["block_table"] + (1 << 18)}
        yield "byte offsets above 2^31", definition, {**inputs, **moved}


def indexed(definition: Definition, lengths: list[int], device: str) -> dict[str, Any]:
    """The indexer's inputs for requests of these lengths: pages of their own each, -1 where a table
    ends, and a page that nobody owns."""
    size, topk = definition.const_axes["page_size"], definition.const_axes["topk"]
    counts = [-(-length // size) for length in lengths]
    used, width = sum(counts), max([*counts, -(-topk // size)])
    order = torch.randperm(used + 1, generator=torch.Generator().manual_seed(used))
    table = torch.full((len(lengths), width), -1, dtype=torch.int32)
    owned = torch.zeros(used + 1, size, dtype=torch.bool)
    for row, (count, length) in enumerate(zip(counts, lengths, strict=True)):
        mine = order[sum(counts[:row]) :][:count]
        table[row, :count] = mine.to(torch.int32)
        owned[mine] = (torch.arange(count * size) < length).view(count, size)
    given = {"seq_lens": torch.tensor(lengths, dtype=torch.int32), "block_table": table}
    axes = {"batch_size": len(lengths), "max_num_pages": width, "num_pages": used + 1}
    inputs = family("dsa_paged").make_inputs(definition, axes, seed=6, device="cpu", given=given)
    raw = inputs["k_index_cache_fp8"].view(used + 1, -1)
    raw[:, : -4 * size].view(used + 1, size, -1)[~owned] = 0x7F  # NaN
    raw[:, -4 * size :].view(torch.float32)[~owned] = math.nan
    return {name: value.to(device) for name, value in inputs.items()}


def prefill(device: str) -> Iterator[Case]:
    """Ragged, and pages of 1 and of many: requests of no queries or of no keys, of as many keys as
    queries, of more, and of fewer (rows that see nothing)."""
    ragged, make = family("gqa_ragged").definition, family("gqa_paged").definition
    many = [[(1, 1)], [(3, 9), (0, 4), (5, 5), (2, 0), (9, 3), (40, 70)]]
    shapes = ((2, 2, 24, 0), (10, 2, 16, 1), (16, 1, 16, 4), (4, 2, 16, 16))
    if device != "cpu":
        many += [[(0, 7), (700, 4097), (1, 12000), (129, 129)], [(2048, 2048)] * 2, [(1, 33)] * 300]
        shapes = ((32, 8, 128, 0), (40, 8, 128, 1), (8, 8, 64, 64), (16, 1, 256, 16),
                  (4, 2, 24, 1))  # fmt: skip
    for *shape, size in shapes:
        definition = make(*shape, size, prefill=True) if size else ragged(*shape)
        for pairs in many:
            queries = [queries for queries, _ in pairs]
            given = {"qo_indptr": torch.tensor([0, *queries]).cumsum(0).to(torch.int32)}
            rows = {"total_q": sum(queries)}
            if size:
                inputs = paged(definition, [keys for _, keys in pairs], device, more=(rows, given))
            else:
                keys = torch.tensor([0, *(keys for _, keys in pairs)]).cumsum(0).to(torch.int32)
                axes = {**rows, "total_kv": int(keys[-1]), "len_indptr": len(pairs) + 1}
                given["kv_indptr"] = keys
                inputs = family(definition.op_type).make_inputs(
                    definition, axes, seed=4, device=device, given=given
                )
            yield f"{pairs[:4]}", definition, inputs
            yield f"{pairs[:4]}, scale below 0", definition, {**inputs, "sm_scale": -0.1}
    if device != "cpu":
        definition = make(32, 8, 128, 1, prefill=True)
        rows = {"qo_indptr": torch.tensor([0, 5, 40, 41], dtype=torch.int32)}
        more = ({"total_q": 41}, rows)
        inputs = paged(definition, [777, 35, 30], device, pages=(1 << 21) + 4096, more=more)
        yield "element offsets above 2^31", definition, inputs


def moe(device: str) -> Iterator[Case]:
    """Groups of experts and none; all experts at hand and a rank's; tokens whose experts are all
    elsewhere; one token and many."""
    make = family("moe").definition
    shapes, counts = ((16, 4, 128, 256),), (3,)
    if device != "cpu":
        shapes = ((256, 32, 7168, 2048), (256, 256, 1024, 512))
        counts = (1, 7, 64, 700, 5000)
    for experts, local, hidden, width in shapes:
        for n_group, topk_group in ((8, 4), (1, 1)):
            definition = make(
                "fp8_block", "ds", num_experts=experts, num_local_experts=local, top_k=8,
                n_group=n_group, topk_group=topk_group, hidden_size=hidden,
                intermediate_size=width,
            )  # fmt: skip
            for tokens in counts:
                inputs = plain(definition, {"seq_len": tokens}, device)
                yield f"{tokens} tokens", definition, inputs
            last = {**inputs, "local_expert_offset": experts - local}
            yield f"{tokens} tokens, the last experts", definition, last
            last["routing_bias"] = last["routing_bias"].clone()
            last["routing_bias"][-local:] = -100.0 if local < experts // 2 else 0.0
            yield f"{tokens} tokens, none here", definition, last
    yield from routed(device)


PER_TENSOR = (("fp8_per_tensor", "renorm", 2), ("fp8_per_tensor", "llama4", 1))
ROUTED = (
    ("fp8_block", "renorm", 3), ("fp8_block", "renorm_naive", 2), ("fp8_block", "default", 3),
    ("fp8_block", "llama4", 1), ("fp8_block", "topk", 2), *PER_TENSOR,
)  # fmt: skip


def routed(device: str) -> Iterator[Case]:
    """Every other routing, all experts at hand and a rank's: one token, crowded experts, ties,
    experts that are all elsewhere."""
    make = family("moe").definition
    experts, part, hidden, width = (6, 2, 256, 128) if device == "cpu" else (128, 16, 2048, 768)
    for kind, routing, top_k in ROUTED:
        for local in (experts, part):
            definition = make(
                kind, routing, num_experts=experts, num_local_experts=local, top_k=top_k,
                hidden_size=hidden, intermediate_size=width,
            )  # fmt: skip
            for tokens in (1,) if device == "cpu" else (1, 16, 300, 4000):
                yield f"{tokens} tokens", definition, plain(definition, {"seq_len": tokens}, device)
            # Of 20 tokens an expert has more than the 16 of a block.
            small = 20 if (kind, routing) == ROUTED[0][:2] else 3
            tokens = small if device == "cpu" else 700
            inputs = plain(definition, {"seq_len": tokens}, device)
            yield from steered(definition, inputs, local, top_k)


def steered(
    definition: Definition, inputs: dict[str, Any], local: int, top_k: int
) -> Iterator[Case]:
    """Logits that tie; with a rank's experts, ones that crowd the last rank's experts, and ones
    whose experts are all elsewhere."""
    logits = inputs["routing_logits"]
    first = logits.shape[1] - local
    if first == 0:
        tied = logits.sign() * 0.5
        tied[:1] = 0.25
        unbiased = {n: torch.zeros_like(v) for n, v in inputs.items() if n == "routing_bias"}
        yield "ties", definition, {**inputs, **unbiased, "routing_logits": tied}
        return
    crowded = logits - 8.0
    crowded[:, first : first + top_k] += 16.0
    last = {"routing_logits": crowded, "local_expert_offset": first}
    yield "crowded experts, the last ones", definition, {**inputs, **last}
    away = logits.clone()
    away[:, :local] = -100.0
    yield "none here", definition, {**inputs, "routing_logits": away}


def rope(device: str) -> Iterator[Case]:
    """Both styles; all of a head turned, a part of it, and sizes that are no power of two; no k, no
    token; heads that no block divides; q and k that are slices of one projection."""
    make = family("rope").definition
    shapes, counts = ((24, 12), (16, 16)), (0, 3)
    heads = ((5, 2), (3, 0))
    if device != "cpu":
        shapes, counts = ((128, 64), (128, 128), (256, 64), (80, 20)), (0, 1, 65, 2051)
        heads = ((32, 8), (5, 1), (64, 0))
    for size, rotary in shapes:
        for neox in (True, False):
            definition = make(size, rotary, neox=neox)
            for tokens, (q, k) in itertools.product(counts, heads):
                axes = {"num_qo_heads": q, "num_kv_heads": k, "max_seq_len": 40}
                inputs = plain(definition, {**axes, "num_tokens": tokens}, device)
                yield f"{tokens} tokens, {q} + {k} heads", definition, inputs
                joined = torch.cat([inputs["q"], inputs["k"], inputs["q"]], dim=1)
                parts = {"q": joined[:, :q], "k": joined[:, q : q + k]}
                yield f"{tokens} tokens, slices", definition, {**inputs, **parts}
    if device != "cpu":
        definition = make(128, 64)
        axes = {"num_qo_heads": 32, "num_kv_heads": 2, "max_seq_len": 40, "num_tokens": 4}
        inputs = plain(definition, axes, device)
        wide = torch.zeros(4, 1 << 30, dtype=inputs["q"].dtype, device=device)
        wide[:, : 32 * 128] = inputs["q"].flatten(1)
        far = {**inputs, "q": wide[:, : 32 * 128].view(4, 32, 128)}
        yield "element offsets above 2^31", definition, far


def pools(device: str, distinct: bool = False) -> list[tuple[list[int], int]]:
    """Slots of requests and the size of their pool; with `distinct` no two requests share one."""
    found = [([2, -1, 0], 5), ([-1, -1], 2)]
    if not distinct:
        found.append(([1, 1, 0, 1], 2))
    if device != "cpu":
        found += [([3], 300), ([*range(299, 0, -1), -1], 300)]
    return found


def sampling(device: str) -> Iterator[Case]:
    """Peaked, flat and tied rows, one-hot ones; filters of every kind, those that filter nothing
    and those that keep one entry included. Each row stands DRAWS times."""
    make = family("sampling").definition
    for vocab in (300,) if device == "cpu" else (40, 32000, 128256):
        rng = torch.Generator().manual_seed(vocab)
        kept = FILTERS[:FEW] if device == "cpu" else FILTERS
        logits = torch.randn(len(kept), vocab, generator=rng)
        rows = {
            "peaked": torch.softmax(3 * logits, dim=1),
            "flat": torch.softmax(0.3 * logits, dim=1),
            "tied": torch.softmax((2 * logits).round(), dim=1),
            "equal": torch.full_like(logits, 1 / vocab),
            "one-hot": torch.eye(vocab)[torch.arange(len(kept)) * 7 % vocab],
        }
        top_k, top_p = (torch.tensor(column) for column in zip(*kept, strict=True))
        given = {"top_k": top_k.to(torch.int32), "top_p": top_p.to(torch.float32)}
        for kind in ("top_k", "top_p", "top_k_top_p"):
            definition = make(kind, vocab)
            labels = ["peaked", *["tied"] * (kind == "top_k_top_p")] if device == "cpu" else rows
            for label, probs in ((label, rows[label]) for label in labels):
                filters = {n: v.to(device) for n, v in given.items() if n in definition.inputs}
                yield label, definition, {"probs": probs.to(device), **filters}


# k and p: with one of them, the other falls away. Of equal rows, no p takes a whole number of
# entries: rounding would decide about the last one, and differently here and there.
FILTERS = [(5, 0.51), (0, 0.97), (20, 0.0), (301, 1.0),
           (1, 0.51), (5, 1.0), (0, 0.907), (40, 0.311), (-1, 1e-6), (100, 0.953), (7, 0.99),
           (10**6, 1.0), (230, 0.711), (224, 0.99), (500, 1.0)]  # fmt: skip
FEW = 4  # of them for the interpreter
