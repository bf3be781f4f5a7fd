"""rope: rotary embedding of q and k from a cache of cosines and sines.

rope_with_cos_sin_cache_neox_style_d{head size}_rd{rotary dim}
rope_with_cos_sin_cache_gptj_style_d{head size}_rd{rotary dim}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import base, probing, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

API = "flashinfer.rope.apply_rope_with_cos_sin_cache_inplace"
THETA = 10000.0  # of the cache that make_inputs builds; a definition does not fix it


class Rope(OpFamily):
    """Rotary embedding; head counts are variable axes, so TP divides nothing."""

    op_type = "rope"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """Partial rotary only: SGLang fuses the full one into other kernels, and the dataset
        has none of it."""
        rope = spec.rope
        if rope is None or spec.attention is None or rope.rotary_dim >= rope.head_dim:
            return
        yield Variant(self.definition(rope.head_dim, rope.rotary_dim, neox=rope.is_neox))

    def definition(self, head_size: int, rotary_dim: int, *, neox: bool = True) -> Definition:
        """One definition of the family."""
        style = "neox" if neox else "gptj"
        q = base.tensor("num_tokens num_qo_heads head_size", "bfloat16")
        k = base.tensor("num_tokens num_kv_heads head_size", "bfloat16")
        pairs = "i and i + rotary_dim / 2" if neox else "2 i and 2 i + 1"
        return Definition(
            name=f"rope_with_cos_sin_cache_{style}_style_d{head_size}_rd{rotary_dim}",
            description=f"Rotary embedding of the first {rotary_dim} of {head_size} dimensions of "
            f"each head, pairing dimensions {pairs}.",
            op_type=self.op_type,
            tags=[fi_api_tag(API)],
            axes={
                "num_tokens": base.var("Number of tokens."),
                "num_qo_heads": base.var("Query heads."),
                "num_kv_heads": base.var("KV heads."),
                "head_size": base.const(head_size),
                "rotary_dim": base.const(rotary_dim),
                "max_seq_len": base.var("Positions in the cache."),
            },
            inputs={
                "q": q,
                "k": k,
                "cos_sin_cache": base.tensor(
                    "max_seq_len rotary_dim", "float32", "Cosines, then sines, by position."
                ),
                "positions": base.tensor("num_tokens", "int64", "Position of each token."),
            },
            outputs={"q_out": q, "k_out": k},
            reference=references.source("rope_with_cos_sin_cache", NEOX=neox),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Random positions of the cache."""
        import torch

        high = max(1, axes["max_seq_len"])
        return {"positions": torch.randint(high, (axes["num_tokens"],), generator=rng)}

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Normal q and k; a real cache of cosines and sines."""
        import torch

        if name != "cos_sin_cache":
            return base.normal(definition, name, axes, rng)
        size = definition.const_axes["rotary_dim"]
        frequency = THETA ** (-torch.arange(0, size, 2).float() / size)
        angle = torch.arange(axes["max_seq_len"]).float()[:, None] * frequency
        return torch.cat([angle.cos(), angle.sin()], dim=-1)

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """q and k in and out, one cache row a token; 3 FLOPs a rotated element."""
        heads = axes["num_qo_heads"] + axes["num_kv_heads"]
        size, rotary = definition.const_axes["head_size"], definition.const_axes["rotary_dim"]
        moved = axes["num_tokens"] * (2 * heads * size * 2 + rotary * 4 + 8)
        return Cost(moved, 3.0 * axes["num_tokens"] * heads * rotary)

    def tolerance(self, definition: Definition) -> Tolerance:
        """Elements as in the dataset's tests; one bfloat16 rounding, of rows 0.2 %."""
        return Tolerance(atol=1e-2, rtol=5e-2, row_error=0.01, gain_error=5e-3)

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Five tokens."""
        return {"num_tokens": 5, "num_qo_heads": 4, "num_kv_heads": 2, "max_seq_len": 16}

    def vary_values(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """The cache moves by positions only: a cosine keeps its sine."""
        values = {n: v for n, v in inputs.items() if n != "cos_sin_cache"}
        cache = probing.rolled(inputs["cos_sin_cache"], rng, columns=False)
        return {**probing.vary(values, rng), "cos_sin_cache": cache}

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Tokens change positions."""
        return {"positions": probing.rolled(inputs["positions"], rng)}

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """The in-place API, which takes heads and head size as one axis."""
        import torch

        size, rotary = definition.const_axes["head_size"], definition.const_axes["rotary_dim"]
        rows = torch.empty(5, 4 * size, dtype=torch.bfloat16, device="meta")
        return FlashInferCall(
            API,
            {
                "positions": torch.empty(5, dtype=torch.int64, device="meta"),
                "query": rows,
                "key": rows,
                "head_size": size,
                "cos_sin_cache": torch.empty(16, rotary, device="meta"),
                "is_neox": "neox" in definition.name,
            },
            aliases={"q": "query", "k": "key"},
        )


FAMILY = Rope()
