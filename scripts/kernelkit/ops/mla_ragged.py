"""mla_ragged: causal MLA prefill before absorption, over ragged keys and values.

mla_ragged_prefill_causal_h{heads}_qk{query/key dim}_vo{value dim}
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


class MlaRagged(OpFamily):
    """Ragged attention whose values are narrower than its keys."""

    op_type = "mla_ragged"
    divided_by = "tp"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """One definition; as many KV heads as query heads, both / TP."""
        mla = spec.mla
        if mla is not None:
            heads = parallel.heads(mla.num_heads, what="MLA heads")
            qk_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim
            yield Variant(self.definition(heads, qk_dim, mla.v_head_dim))

    def definition(self, heads: int, qk_dim: int, vo_dim: int) -> Definition:
        """One definition of the family."""
        return Definition(
            name=f"mla_ragged_prefill_causal_h{heads}_qk{qk_dim}_vo{vo_dim}",
            description="MLA before absorption, causal prefill, over ragged keys and values: "
            f"{heads} heads, query and key dim {qk_dim}, value dim {vo_dim}.",
            op_type=self.op_type,
            tags=["stage:prefill", fi_api_tag(ragged.API)],
            axes={
                "num_qo_heads": base.const(heads),
                "num_kv_heads": base.const(heads),
                "qk_dim": base.const(qk_dim),
                "vo_dim": base.const(vo_dim),
                "total_q": ragged.TOTAL_Q,
                "total_kv": ragged.TOTAL_KV,
                "len_indptr": ragged.LEN_INDPTR,
            },
            constraints=list(ragged.CONSTRAINTS),
            inputs={
                "q": base.tensor("total_q num_qo_heads qk_dim", "bfloat16"),
                "k": base.tensor("total_kv num_kv_heads qk_dim", "bfloat16"),
                "v": base.tensor("total_kv num_kv_heads vo_dim", "bfloat16"),
                "qo_indptr": paged.INDPTR["qo_indptr"],
                "kv_indptr": base.tensor("len_indptr", "int32", "First key row of each request."),
                "sm_scale": paged.SM_SCALE,
            },
            outputs={
                "output": base.tensor("total_q num_qo_heads vo_dim", "bfloat16"),
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
        """Normal q, k and v; the scale 1/sqrt(qk_dim)."""
        if name == "sm_scale":
            return definition.const_axes["qk_dim"] ** -0.5
        return base.normal(definition, name, axes, rng)

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """Every tensor once; a visible pair costs 2 qk + 2 vo FLOPs a head."""
        sizes = definition.const_axes
        pair_flops = 2.0 * sizes["num_qo_heads"] * (sizes["qk_dim"] + sizes["vo_dim"])
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
        """The wrapper's run(); the template calls qk_dim head_dim and loses vo_dim."""
        import torch

        sizes = definition.const_axes
        heads, qk_dim, vo_dim = sizes["num_qo_heads"], sizes["qk_dim"], sizes["vo_dim"]
        q = torch.empty(3, heads, qk_dim, dtype=torch.bfloat16, device="meta")
        v = torch.empty(3, heads, vo_dim, dtype=torch.bfloat16, device="meta")
        return FlashInferCall(
            f"{ragged.API}.run", {"q": q, "k": q, "v": v}, aliases={"qk_dim": "head_dim"}
        )


FAMILY = MlaRagged()
