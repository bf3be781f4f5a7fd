"""mla_paged: multi-head latent attention over a paged latent cache, decode and causal prefill.

    mla_paged_decode_h{heads}_ckv{kv_lora_rank}_kpe{rope dim}_ps{page size}
    mla_paged_prefill_causal_h{heads}_ckv{kv_lora_rank}_kpe{rope dim}_ps{page size}

Queries are absorbed: q_nope has the latent dim. ckv is kv_lora_rank alone, without the rope dim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import AxisConst, AxisVar, Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import attention_probes, base, paged, references, tables
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

API = "flashinfer.mla.BatchMLAPagedAttentionWrapper"
NOPE_DIM = 128  # qk_nope_head_dim of every published MLA model; absorbed, so no axis carries it


class MlaPaged(OpFamily):
    """Paged multi-head latent attention."""

    op_type = "mla_paged"
    divided_by = "tp"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """Decode and causal prefill for each page size; heads / TP, one latent KV head."""
        mla = spec.mla
        if mla is None:
            return
        heads = parallel.heads(mla.num_heads, what="MLA heads")
        dims = mla.kv_lora_rank, mla.qk_rope_head_dim
        for page_size in page_sizes:
            yield Variant(self.definition(heads, *dims, page_size, prefill=False))
            yield Variant(self.definition(heads, *dims, page_size, prefill=True))

    def definition(
        self, heads: int, ckv: int, kpe: int, page_size: int, *, prefill: bool
    ) -> Definition:
        """One definition of the family."""
        stage = "prefill" if prefill else "decode"
        kind = "prefill_causal" if prefill else "decode"
        rows = ("total_q" if prefill else "batch_size") + " num_qo_heads"
        return Definition(
            name=f"mla_paged_{kind}_h{heads}_ckv{ckv}_kpe{kpe}_ps{page_size}",
            description=f"Multi-head latent attention, {kind.replace('_', ', ')}, absorbed, over "
            f"a paged latent cache: {heads} heads, latent dim {ckv}, rope dim {kpe}, pages "
            f"of {page_size}.",
            op_type=self.op_type,
            tags=[f"stage:{stage}", fi_api_tag(API)],
            axes=_axes(heads, ckv, kpe, page_size, prefill=prefill),
            constraints=paged.constraints(prefill),
            inputs={
                "q_nope": base.tensor(f"{rows} head_dim_ckv", "bfloat16"),
                "q_pe": base.tensor(f"{rows} head_dim_kpe", "bfloat16"),
                "ckv_cache": base.tensor("num_pages page_size head_dim_ckv", "bfloat16"),
                "kpe_cache": base.tensor("num_pages page_size head_dim_kpe", "bfloat16"),
                **paged.page_inputs(prefill, page_size),
                "sm_scale": base.tensor(
                    None, "float32", "Softmax scale of the head dim before absorption."
                ),
            },
            outputs={
                "output": base.tensor(f"{rows} head_dim_ckv", "bfloat16"),
                "lse": base.tensor(rows, "float32", "Log-sum-exp of the logits, base 2."),
            },
            reference=references.source(f"mla_paged_{stage}" + ("_ps1" if page_size == 1 else "")),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Page tables of requests of different lengths, pages in random order."""
        if "total_q" in definition.axes:
            return paged.prefill_tables(definition, axes, rng)
        return paged.decode_tables(definition, axes, rng)

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Normal queries and caches; the scale of the head dim before absorption."""
        if name == "sm_scale":
            return sm_scale(definition)
        return base.normal(definition, name, axes, rng)

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """[ckv, kpe] of each cached token once; a pair costs 2 (ckv + kpe) + 2 ckv FLOPs a head."""
        sizes = definition.const_axes
        ckv, kpe = sizes["head_dim_ckv"], sizes["head_dim_kpe"]
        pair_flops = 2.0 * sizes["num_qo_heads"] * (2 * ckv + kpe)
        return paged.attention_cost(definition, axes, inputs, 2 * (ckv + kpe), pair_flops)

    def tolerance(self, definition: Definition) -> Tolerance:
        """See `paged.TOLERANCE`."""
        return paged.TOLERANCE

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Three requests."""
        return paged.small_axes(definition)

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Requests in another order, pages moved on."""
        return tables.vary(inputs, len(inputs["ckv_cache"]), rng)

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """See attention_probes."""
        return attention_probes.latent(definition, inputs, rng)

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """The wrapper's run(), which has one template for decode and prefill."""
        import torch

        sizes = definition.const_axes
        heads, page = sizes["num_qo_heads"], sizes["page_size"]
        tensors = {}
        for name, dim in (("nope", sizes["head_dim_ckv"]), ("pe", sizes["head_dim_kpe"])):
            tensors[f"q_{name}"] = torch.empty(3, heads, dim, dtype=torch.bfloat16, device="meta")
            cache = "ckv_cache" if name == "nope" else "kpe_cache"
            tensors[cache] = torch.empty(9, page, dim, dtype=torch.bfloat16, device="meta")
        return FlashInferCall(f"{API}.run", tensors)


def sm_scale(definition: Definition) -> float:
    """1/sqrt(qk_nope_head_dim + qk_rope_head_dim): 1/sqrt(192), not 1/sqrt(576)."""
    return (NOPE_DIM + definition.const_axes["head_dim_kpe"]) ** -0.5


def _axes(
    heads: int, ckv: int, kpe: int, page_size: int, *, prefill: bool
) -> dict[str, AxisConst | AxisVar]:
    """The dataset's order, which is not gqa_paged's."""
    pages = paged.page_axes(prefill, page_size)
    order = ["page_size"] + (["total_q"] if prefill else [])
    order += ["num_pages", "len_indptr", "num_kv_indices"]
    order += ["batch_size"] if "batch_size" in pages else []
    first = {} if prefill else {"batch_size": base.var("Number of requests.")}
    return {
        **first,
        "num_qo_heads": base.const(heads),
        "head_dim_ckv": base.const(ckv),
        "head_dim_kpe": base.const(kpe),
        **{name: pages[name] for name in order},
    }


FAMILY = MlaPaged()
