"""dsa_paged: DeepSeek sparse attention over a paged latent cache, and its top-k indexer.

    dsa_sparse_attention_h{heads}_ckv{latent dim}_kpe{rope dim}_topk{k}_ps{page size}
    dsa_topk_indexer_fp8_h{index heads}_d{index dim}_topk{k}_ps64

The indexer's cache exists for 64 tokens a page only: float8 keys, then float32 scales, as bytes in
an int8 container (the format has no uint8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import attention_probes, base, mla_paged, paged, probing, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

SPARSE_API = "flashinfer.mla.trtllm_batch_decode_with_kv_cache_mla"
INDEXER_PAGE = 64
SCALE_BYTES = 4  # one float32 scale a cached token
EDGE = 4.0  # what the scores at the ends of a request are multiplied by, in a probe


class DsaPaged(OpFamily):
    """Sparse attention and its indexer. FlashInfer has no trace template of either's interface:
    its sparse call joins q and cache to 576 dims, and its indexer gives scores, not indices."""

    op_type = "dsa_paged"
    divided_by = "tp"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """Sparse attention for each page size (heads / TP); the indexer, whose heads TP leaves."""
        dsa, mla = spec.dsa, spec.mla
        if dsa is None or mla is None:
            return
        heads = parallel.heads(mla.num_heads, what="MLA heads")
        dims = mla.kv_lora_rank, mla.qk_rope_head_dim, dsa.index_topk
        for page_size in page_sizes:
            yield Variant(self.sparse(heads, *dims, page_size))
        if INDEXER_PAGE in page_sizes:
            yield Variant(self.indexer(dsa.index_n_heads, dsa.index_head_dim, dsa.index_topk))

    def sparse(self, heads: int, ckv: int, kpe: int, topk: int, page_size: int) -> Definition:
        """A sparse-attention definition."""
        rows = "num_tokens num_qo_heads"
        return Definition(
            name=f"dsa_sparse_attention_h{heads}_ckv{ckv}_kpe{kpe}_topk{topk}_ps{page_size}",
            description=f"Sparse multi-head latent attention: each token attends to {topk} cache "
            f"slots; {heads} heads, latent dim {ckv}, rope dim {kpe}, pages of {page_size}.",
            op_type=self.op_type,
            tags=["sparse:topk", fi_api_tag(SPARSE_API)],
            axes={
                "num_tokens": base.var("Query tokens."),
                "num_qo_heads": base.const(heads),
                "head_dim_ckv": base.const(ckv),
                "head_dim_kpe": base.const(kpe),
                "page_size": base.const(page_size),
                "topk": base.const(topk),
                "num_pages": base.var("Pages of the cache."),
            },
            constraints=[
                "sparse_indices.shape[0] == num_tokens",
                "sparse_indices.shape[-1] == topk",
                "ckv_cache.shape[1] == page_size",
            ],
            inputs={
                "q_nope": base.tensor(f"{rows} head_dim_ckv", "bfloat16"),
                "q_pe": base.tensor(f"{rows} head_dim_kpe", "bfloat16"),
                "ckv_cache": base.tensor("num_pages page_size head_dim_ckv", "bfloat16"),
                "kpe_cache": base.tensor("num_pages page_size head_dim_kpe", "bfloat16"),
                "sparse_indices": base.tensor(
                    "num_tokens topk", "int32", "page * page_size + offset; -1 is padding."
                ),
                "sm_scale": base.tensor(
                    None, "float32", "Softmax scale of the head dim before absorption."
                ),
            },
            outputs={
                "output": base.tensor(f"{rows} head_dim_ckv", "bfloat16"),
                "lse": base.tensor(rows, "float32", "Log-sum-exp of the logits, base 2."),
            },
            reference=references.source("dsa_sparse_attention"),
        )

    def indexer(self, heads: int, dim: int, topk: int) -> Definition:
        """A top-k indexer definition."""
        return Definition(
            name=f"dsa_topk_indexer_fp8_h{heads}_d{dim}_topk{topk}_ps{INDEXER_PAGE}",
            description=f"Sparse-attention indexer: the {topk} cached tokens of highest score for "
            f"each request; {heads} index heads of {dim}, float8 keys with a scale each.",
            op_type=self.op_type,
            tags=["stage:indexer", "sparse:topk", "quantization:float8_e4m3fn"],
            axes={
                "batch_size": base.var("Number of requests."),
                "num_index_heads": base.const(heads),
                "index_head_dim": base.const(dim),
                "page_size": base.const(INDEXER_PAGE),
                "topk": base.const(topk),
                "max_num_pages": base.var("Width of the block table."),
                "num_pages": base.var("Pages of the cache."),
                "kv_cache_num_heads": base.const(1),
                "head_dim_with_scale": base.const(dim + SCALE_BYTES),
            },
            constraints=["topk <= max_num_pages * page_size"],
            inputs={
                "q_index_fp8": base.tensor(
                    "batch_size num_index_heads index_head_dim", "float8_e4m3fn"
                ),
                "k_index_cache_fp8": base.tensor(
                    "num_pages page_size kv_cache_num_heads head_dim_with_scale",
                    "int8",
                    "Bytes of a page: float8 keys of all its tokens, then their float32 scales.",
                ),
                "weights": base.tensor("batch_size num_index_heads", "float32"),
                "seq_lens": base.tensor("batch_size", "int32", "Cached tokens of each request."),
                "block_table": base.tensor("batch_size max_num_pages", "int32", "Page ids."),
            },
            outputs={
                "topk_indices": base.tensor(
                    "batch_size topk", "int32", "page * page_size + offset; -1 is padding."
                )
            },
            reference=references.source("dsa_topk_indexer_fp8", TOPK=topk),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Distinct slots for each token, the last quarter padded; or a block table and lengths."""
        if "sparse_indices" in definition.inputs:
            return {"sparse_indices": _sparse_indices(definition, axes, rng)}
        return _block_table(definition, axes, rng)

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Normal queries and caches; the indexer's cache in its byte layout."""
        if name == "sm_scale":
            return mla_paged.sm_scale(definition)
        if name == "k_index_cache_fp8":
            return _index_cache(definition, axes, rng)
        scale = definition.const_axes["num_index_heads"] ** -0.5 if name == "weights" else 1.0
        return base.normal(definition, name, axes, rng, scale)

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """Sparse: [ckv, kpe] of each named slot, 2 (2 ckv + kpe) FLOPs a head and slot.

        Indexer: each cached token's key and scale once, 2 d FLOPs an index head and token.
        """
        sizes = definition.const_axes
        names = [*definition.inputs, *definition.outputs]
        rest = sum(base.tensor_bytes(definition, n, axes) for n in names if "cache" not in n)
        if "sparse_indices" in definition.inputs:
            slots = axes["num_tokens"] * sizes["topk"]
            if inputs is not None:
                slots = int((inputs["sparse_indices"] >= 0).sum())
            ckv, kpe = sizes["head_dim_ckv"], sizes["head_dim_kpe"]
            flops = 2.0 * slots * sizes["num_qo_heads"] * (2 * ckv + kpe)
            return Cost(rest + slots * 2 * (ckv + kpe), flops)
        tokens = axes["batch_size"] * axes["max_num_pages"] * INDEXER_PAGE
        if inputs is not None:
            tokens = int(inputs["seq_lens"].sum())
        flops = 2.0 * tokens * sizes["num_index_heads"] * sizes["index_head_dim"]
        return Cost(rest + tokens * sizes["head_dim_with_scale"], flops)

    def tolerance(self, definition: Definition) -> Tolerance:
        """Sparse as attention; indices may swap at equal scores: 85 % must match, as published."""
        if "topk_indices" in definition.outputs:
            return Tolerance(atol=0.0, rtol=0.0, matched_ratio=0.85)
        return paged.TOLERANCE

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Three tokens or two requests; enough pages for the constraint on topk."""
        pages = -(-definition.const_axes["topk"] // definition.const_axes["page_size"])
        axes = {
            "num_tokens": 3,
            "batch_size": 2,
            "num_pages": pages + 3,
            "max_num_pages": pages + 1,
        }
        return {name: axes[name] for name in definition.var_axes}

    def vary_values(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """The indexer's cache, bytes to the format, moves by pages."""
        values = probing.vary(inputs, rng)
        if "k_index_cache_fp8" in inputs:
            cache = inputs["k_index_cache_fp8"]
            pages = probing.rolled(cache.flatten(1), rng, columns=False)
            values["k_index_cache_fp8"] = pages.view(cache.shape)
        return values

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Slots or pages move on; the indexer's requests change places."""
        if "sparse_indices" in inputs:
            slots = inputs["ckv_cache"].shape[0] * inputs["ckv_cache"].shape[1]
            return {"sparse_indices": probing.rotated(inputs["sparse_indices"], slots, rng)}
        moved = probing.roll_requests(inputs, {"seq_lens": False, "block_table": False}, rng)
        table = moved.get("block_table", inputs["block_table"])
        moved["block_table"] = probing.rotated(table, len(inputs["k_index_cache_fp8"]), rng)
        return moved

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """Sparse attention: see attention_probes. edges: positive weights, and keys whose scores
        are highest at the ends of each request and past its last token."""
        if "sparse_indices" in inputs:
            yield from attention_probes.sparse(definition, inputs, rng)
            return
        fresh = self.vary(definition, inputs, rng)
        weights = fresh["weights"].abs() + 0.1 * definition.const_axes["num_index_heads"] ** -0.5
        changes = {"weights": weights, "k_index_cache_fp8": _edges(fresh, rng)}
        yield "edges", probing.replaced(definition, fresh, changes)


def _sparse_indices(definition: Definition, axes: Axes, rng: torch.Generator) -> torch.Tensor:
    """Distinct slots from all over the cache for each token, then -1: one slot of each of as many
    equal parts of the cache as a token has slots, the parts in random order."""
    import torch

    tokens, topk = axes["num_tokens"], definition.const_axes["topk"]
    slots = axes["num_pages"] * definition.const_axes["page_size"]
    parts = min(slots, topk)
    starts = torch.arange(parts + 1) * slots // max(1, parts)
    offsets = torch.rand(tokens, parts, generator=rng) * torch.diff(starts)
    order = torch.randperm(parts, generator=rng)
    rows = torch.full((tokens, topk), -1, dtype=torch.int32)
    rows[:, :parts] = (starts[:-1] + offsets.long())[:, order].to(torch.int32)
    filled = torch.randint(max(1, topk * 3 // 4), topk + 1, (tokens, 1), generator=rng)
    return rows.masked_fill_(torch.arange(topk) >= filled, -1)


def _block_table(definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
    import torch

    batch, width = axes["batch_size"], axes["max_num_pages"]
    most = width * definition.const_axes["page_size"]
    seq_lens = torch.randint(max(1, most // 2), most + 1, (batch,), generator=rng)
    ids = paged.page_ids(batch * width, axes["num_pages"], rng)
    return {"seq_lens": seq_lens.to(torch.int32), "block_table": ids.view(batch, width)}


def _index_cache(definition: Definition, axes: Axes, rng: torch.Generator) -> torch.Tensor:
    """Normal keys, quantised to float8 with one scale a token, laid out page by page as bytes."""
    import torch

    sizes = definition.const_axes
    pages, page, dim = axes["num_pages"], sizes["page_size"], sizes["index_head_dim"]
    keys = torch.randn(pages, page, dim, generator=rng)
    scales = keys.abs().amax(dim=-1) / torch.finfo(torch.float8_e4m3fn).max
    quantised = (keys / scales[..., None]).to(torch.float8_e4m3fn).view(torch.uint8)
    raw = torch.cat([quantised.flatten(1), scales.view(torch.uint8).view(pages, -1)], dim=1)
    return raw.view(torch.int8).view(pages, page, 1, dim + SCALE_BYTES)


def _edges(inputs: Inputs, rng: torch.Generator) -> torch.Tensor:
    """The indexer's cache with scales times 1 to 2; the first and the last token of each request,
    and what stands behind the last in its page, times EDGE."""
    import torch

    cache, table, lengths = (
        inputs[name] for name in ("k_index_cache_fp8", "block_table", "seq_lens")
    )
    pages, size = cache.shape[:2]
    raw = cache.reshape(pages, -1).clone().view(torch.uint8)
    scales = raw[:, -SCALE_BYTES * size :].contiguous().view(torch.float32)
    scales *= probing.uniform(1.0, 2.0, (1, size), rng, scales)
    edge = torch.zeros_like(scales, dtype=torch.bool)
    for row in (lengths > 0).nonzero()[:, 0].tolist():
        last = int(lengths[row]) - 1
        edge[int(table[row, 0]), 0] = True
        edge[int(table[row, last // size]), last % size :] = True
    scales[edge] *= EDGE
    raw[:, -SCALE_BYTES * size :] = scales.view(torch.uint8).view(pages, -1)
    return raw.view(torch.int8).view(cache.shape)


FAMILY = DsaPaged()
