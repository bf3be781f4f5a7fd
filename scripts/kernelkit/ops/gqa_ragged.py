"""gqa_ragged: causal grouped-query prefill over contiguous keys and values.

gqa_ragged_prefill_causal_h{query heads}_kv{KV heads}_d{head dim}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import attention_probes, base, paged, ragged, references, tables
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec


class GqaRagged(OpFamily):
    """Ragged grouped-query attention."""

    op_type = "gqa_ragged"
    divided_by = "tp"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """One definition; query heads / TP, KV heads replicated."""
        heads = spec.attention
        if heads is None or not spec.has_mixer("attention", "sliding_attention"):
            return
        qo = parallel.heads(heads.num_qo_heads, what="query heads")
        yield Variant(self.definition(qo, parallel.kv_heads(heads.num_kv_heads), heads.head_dim))

    def definition(self, num_qo_heads: int, num_kv_heads: int, head_dim: int) -> Definition:
        """One definition of the family."""
        keys = base.tensor("total_kv num_kv_heads head_dim", "bfloat16")
        return Definition(
            name=f"gqa_ragged_prefill_causal_h{num_qo_heads}_kv{num_kv_heads}_d{head_dim}",
            description="Grouped-query attention, causal prefill, over ragged keys and values: "
            f"{num_qo_heads} query heads, {num_kv_heads} KV heads, head dim {head_dim}.",
            op_type=self.op_type,
            tags=["stage:prefill", fi_api_tag(ragged.API)],
            axes={
                "num_qo_heads": base.const(num_qo_heads),
                "num_kv_heads": base.const(num_kv_heads),
                "head_dim": base.const(head_dim),
                "len_indptr": ragged.LEN_INDPTR,
                "total_q": ragged.TOTAL_Q,
                "total_kv": ragged.TOTAL_KV,
            },
            constraints=list(ragged.CONSTRAINTS),
            inputs={
                "q": base.tensor("total_q num_qo_heads head_dim", "bfloat16"),
                "k": keys,
                "v": keys,
                "qo_indptr": paged.INDPTR["qo_indptr"],
                "kv_indptr": base.tensor("len_indptr", "int32", "First key row of each request."),
                "sm_scale": paged.SM_SCALE,
            },
            outputs={
                "output": base.tensor("total_q num_qo_heads head_dim", "bfloat16"),
                "lse": base.tensor(
                    "total_q num_qo_heads", "float32", "Log-sum-exp of the logits, base 2."
                ),
            },
            reference=references.source("ragged_prefill"),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Requests of different lengths, each with at least as many keys as queries."""
        return ragged.tables(definition, axes, rng)

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Normal q, k and v; the usual scale 1/sqrt(head_dim)."""
        if name == "sm_scale":
            return definition.const_axes["head_dim"] ** -0.5
        return base.normal(definition, name, axes, rng)

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """Every tensor once; 4 d FLOPs a head and visible pair."""
        sizes = definition.const_axes
        pair_flops = 4.0 * sizes["num_qo_heads"] * sizes["head_dim"]
        return ragged.cost(definition, axes, inputs, pair_flops)

    def tolerance(self, definition: Definition) -> Tolerance:
        """See `paged.TOLERANCE`."""
        return paged.TOLERANCE

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Three requests."""
        return paged.small_axes(definition)

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Requests in another order."""
        return tables.vary(inputs, 0, rng)

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """See attention_probes."""
        return attention_probes.grouped(definition, inputs, rng, "k", "v")

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """The wrapper's run()."""
        import torch

        sizes = definition.const_axes
        qo, kv, dim = sizes["num_qo_heads"], sizes["num_kv_heads"], sizes["head_dim"]
        q = torch.empty(3, qo, dim, dtype=torch.bfloat16, device="meta")
        keys = torch.empty(5, kv, dim, dtype=torch.bfloat16, device="meta")
        return FlashInferCall(f"{ragged.API}.run", {"q": q, "k": keys, "v": keys})


FAMILY = GqaRagged()
