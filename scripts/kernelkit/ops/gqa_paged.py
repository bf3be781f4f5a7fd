"""gqa_paged: grouped-query attention over a paged KV cache, decode and causal prefill.

    gqa_paged_decode_h{query heads}_kv{KV heads}_d{head dim}_ps{page size}
    gqa_paged_prefill_causal_h{query heads}_kv{KV heads}_d{head dim}_ps{page size}

The cache is NHD: [pages, page_size, KV heads, head dim]. A page size above 1 has kv_last_page_len.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import attention_probes, base, paged, references, tables
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

DECODE_API = "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper"
PREFILL_API = "flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper"


class GqaPaged(OpFamily):
    """Paged grouped-query attention."""

    op_type = "gqa_paged"
    divided_by = "tp"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """Decode and causal prefill for each page size; query heads / TP, KV heads replicated."""
        heads = spec.attention
        if heads is None or not spec.has_mixer("attention", "sliding_attention"):
            return
        qo = parallel.heads(heads.num_qo_heads, what="query heads")
        kv = parallel.kv_heads(heads.num_kv_heads)
        for page_size in page_sizes:
            yield Variant(self.definition(qo, kv, heads.head_dim, page_size, prefill=False))
            yield Variant(self.definition(qo, kv, heads.head_dim, page_size, prefill=True))

    def definition(
        self, num_qo_heads: int, num_kv_heads: int, head_dim: int, page_size: int, *, prefill: bool
    ) -> Definition:
        """One definition of the family."""
        stage = "prefill" if prefill else "decode"
        kind = "prefill_causal" if prefill else "decode"
        rows = ("total_q" if prefill else "batch_size") + " num_qo_heads"
        cache = base.tensor("num_pages page_size num_kv_heads head_dim", "bfloat16")
        shared = {
            "num_qo_heads": base.const(num_qo_heads),
            "num_kv_heads": base.const(num_kv_heads),
            "head_dim": base.const(head_dim),
        }
        first = {} if prefill else {"batch_size": base.var("Number of requests.")}
        return Definition(
            name=f"gqa_paged_{kind}_h{num_qo_heads}_kv{num_kv_heads}_d{head_dim}_ps{page_size}",
            description=f"Grouped-query attention, {kind.replace('_', ', ')}, over a "
            f"paged KV cache: {num_qo_heads} query heads, {num_kv_heads} KV heads, head dim "
            f"{head_dim}, pages of {page_size}.",
            op_type=self.op_type,
            tags=[f"stage:{stage}", fi_api_tag(PREFILL_API if prefill else DECODE_API)],
            axes={**first, **shared, **paged.page_axes(prefill, page_size)},
            constraints=paged.constraints(prefill),
            inputs={
                "q": base.tensor(f"{rows} head_dim", "bfloat16"),
                "k_cache": cache,
                "v_cache": cache,
                **paged.page_inputs(prefill, page_size),
                "sm_scale": paged.SM_SCALE,
            },
            outputs={
                "output": base.tensor(f"{rows} head_dim", "bfloat16"),
                "lse": base.tensor(rows, "float32", "Log-sum-exp of the logits, base 2."),
            },
            reference=references.source(f"gqa_paged_{stage}" + ("_ps1" if page_size == 1 else "")),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Page tables of requests of different lengths, pages in random order."""
        if "total_q" in definition.axes:
            return paged.prefill_tables(definition, axes, rng)
        return paged.decode_tables(definition, axes, rng)

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Normal q, k and v; the usual scale 1/sqrt(head_dim)."""
        if name == "sm_scale":
            return definition.const_axes["head_dim"] ** -0.5
        return base.normal(definition, name, axes, rng)

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """K and V of each cached token once; 4 d FLOPs a head and pair (q.k and p.v)."""
        sizes = definition.const_axes
        token_bytes = 2 * sizes["num_kv_heads"] * sizes["head_dim"] * 2
        pair_flops = 4.0 * sizes["num_qo_heads"] * sizes["head_dim"]
        return paged.attention_cost(definition, axes, inputs, token_bytes, pair_flops)

    def tolerance(self, definition: Definition) -> Tolerance:
        """See `paged.TOLERANCE`."""
        return paged.TOLERANCE

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Three requests."""
        return paged.small_axes(definition)

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Requests in another order, pages moved on."""
        return tables.vary(inputs, len(inputs["k_cache"]), rng)

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """See attention_probes."""
        return attention_probes.grouped(definition, inputs, rng, "k_cache", "v_cache")

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """The wrapper's run() with an NHD cache as a tuple of two 4-D tensors.

        HND caches swap heads and page size in the template, SGLang's 3-D buffers shift all axes.
        """
        import torch

        sizes = definition.const_axes
        qo, kv, dim = sizes["num_qo_heads"], sizes["num_kv_heads"], sizes["head_dim"]
        q = torch.empty(3, qo, dim, dtype=torch.bfloat16, device="meta")
        cache = torch.empty(9, sizes["page_size"], kv, dim, dtype=torch.bfloat16, device="meta")
        api = PREFILL_API if "total_q" in definition.axes else DECODE_API
        return FlashInferCall(f"{api}.run", {"q": q, "paged_kv_cache": (cache, cache)})


FAMILY = GqaPaged()
