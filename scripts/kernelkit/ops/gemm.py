"""gemm: the linear layers that run in 16 bits, as C = A @ B.T, named gemm_n{N}_k{K}.

Shapes follow SGLang's fused layers (q, k and v in one GEMM; gate and up in one). As in the
published dataset they are those of tensor parallelism 1 and float16; `shard=True` gives the shapes
of one rank: column-parallel layers divide N, row-parallel layers divide K.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import base, probing, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

GROWN = 4.0  # what the sums of the `positive` probe come to
CHAINS = 4  # different columns of the `coverage` probe
LEVELS = (-64, -21, 21, 64)  # of their running sums, in 1/64


@dataclass(frozen=True)
class Linear:
    """One linear layer: N x K, how TP divides it ("column", "row", None), and what it is."""

    what: str
    n: int
    k: int
    split: str | None
    always_16bit: bool = False  # stays 16-bit in quantized checkpoints (the MoE router)


class Gemm(OpFamily):
    """Dense matrix multiplication."""

    op_type = "gemm"

    def derive(
        self,
        spec: ModelSpec,
        parallel: Parallelism,
        page_sizes: Sequence[int],
        *,
        shard: bool = False,
    ) -> Iterator[Variant]:
        """One definition for each distinct (N, K) of the model's 16-bit linear layers."""
        quantized = spec.quantization is not None and spec.quantization.linear
        seen = set()
        for layer in linear_layers(spec, parallel if shard else Parallelism()):
            if quantized and not layer.always_16bit:
                continue
            n, k = _sharded(layer, parallel) if shard else (layer.n, layer.k)
            if (n, k) not in seen:
                seen.add((n, k))
                yield Variant(self.definition(n, k, what=layer.what))

    def definition(self, n: int, k: int, *, what: str = "a linear layer") -> Definition:
        """One definition of the family."""
        return Definition(
            name=f"gemm_n{n}_k{k}",
            description=f"C = A @ B.T with N={n}, K={k}; {what}.",
            op_type=self.op_type,
            axes={"M": base.var("Number of tokens."), "N": base.const(n), "K": base.const(k)},
            inputs={"A": base.tensor("M K", "float16"), "B": base.tensor("N K", "float16")},
            outputs={"C": base.tensor("M N", "float16")},
            reference=references.source("gemm"),
        )

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """2 M N K FLOPs; every matrix moves once."""
        known = {**axes, **definition.const_axes}
        return Cost(base.all_bytes(definition, axes), 2.0 * known["M"] * known["N"] * known["K"])

    def tolerance(self, definition: Definition) -> Tolerance:
        """Elements as in the dataset's tests; float16 sums of K products in any order. Rows: one
        rounding to float16 is an error of 0.03 %, a sum in float16 over 16k products of 0.5 %; one
        rounding to bfloat16, in which some definitions are written, of 0.2 %."""
        coarse = any(spec.dtype.value == "bfloat16" for spec in definition.outputs.values())
        limit = 1e-2 if coarse else 2e-3
        return Tolerance(atol=1e-2, rtol=1e-2, row_error=limit, gain_error=limit)

    def vary_values(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Mixed: the products of factors that are only moved could all be made beforehand."""
        return probing.vary(inputs, rng, mix=True)

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Two rows."""
        return {"M": 2}

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> object:
        """Activations near one, weights of variance 1/K, so that C is near one as in a model."""
        scale = definition.const_axes["K"] ** -0.5 if name == "B" else 1.0
        return base.normal(definition, name, axes, rng, scale)

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """coverage: products of O(1) along K whose sum is two: a part of K that is left out, were
        it one product of 16k, changes it by as much. positive: sums that only grow, as long sums in
        float16 do not."""
        import torch

        fresh = probing.vary(inputs, rng)
        a, b = fresh["A"], fresh["B"]
        left, chains = _chain(a.shape[1], rng)
        right = chains.to(b)[torch.arange(len(b), device=b.device) % CHAINS]
        rows = probing.uniform(0.5, 2.0, (len(a), 1), rng, a)
        columns = probing.uniform(0.5, 2.0, (len(b), 1), rng, b)
        changes = {"A": (rows * left.to(a)).to(a.dtype), "B": (columns * right).to(b.dtype)}
        yield "coverage", probing.replaced(definition, fresh, changes)
        size = b.float().abs().mean() * a.float().abs().mean() * a.shape[1]
        changes = {"A": (a.float().abs() * (GROWN / size)).to(a.dtype), "B": b.abs()}
        yield "positive", probing.replaced(definition, fresh, changes)

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """`flashinfer.gemm.mm_bf16`, whose second operand is [K, N]."""
        import torch

        n, k = definition.const_axes["N"], definition.const_axes["K"]
        a = torch.empty(2, k, dtype=torch.bfloat16, device="meta")
        b = torch.empty(k, n, dtype=torch.bfloat16, device="meta")
        return FlashInferCall(
            "flashinfer.gemm.mm_bf16",
            {"a": a, "b": b},
            differs={name: "the dataset's GEMMs are float16" for name in ("A", "B")},
        )


def _chain(k: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Signs [k] and columns [CHAINS, k] whose products add up to two, over any range of K to O(1).

    The running sums hop between four levels, never to the one they are on: a product is at least
    0.25, and a range that is left out takes its first and last level with it. So parts of K may be
    added in float16, but none may be missing.
    """
    import torch

    hops = torch.randint(1, 4, (CHAINS, k + 1), generator=rng)
    noise = torch.randint(-5, 6, (CHAINS, k + 1), generator=rng)
    sums = (torch.tensor(LEVELS)[hops.cumsum(1) % 4] + noise) / 64.0  # exact in 16 bits
    sums[:, 0], sums[:, -1] = 0.0, 2.0
    sign = torch.randint(0, 2, (k,), generator=rng) * 2.0 - 1.0
    return sign, torch.diff(sums) * sign


def linear_layers(spec: ModelSpec, parallel: Parallelism) -> Iterator[Linear]:
    """The model's linear layers but embedding and head, in the order of a layer's forward."""
    yield from _attention_layers(spec, parallel)
    yield from _mla_layers(spec)
    yield from _gdn_layers(spec)
    yield from _mamba_layers(spec)
    yield from _mlp_layers(spec)


def _attention_layers(spec: ModelSpec, parallel: Parallelism) -> Iterator[Linear]:
    heads = spec.attention
    if heads is None or not spec.has_mixer("attention", "sliding_attention"):
        return
    q_heads = heads.num_qo_heads * (2 if heads.output_gate else 1)
    # SGLang replicates KV heads where TP exceeds them; the fused N counts the copies.
    kv_heads = parallel.kv_heads(heads.num_kv_heads) * parallel.tp
    gate = ", and its output gate" if heads.output_gate else ""
    size = heads.head_dim
    yield Linear(f"q, k, v{gate}", (q_heads + 2 * kv_heads) * size, spec.hidden_size, "column")
    yield Linear("attention output", spec.hidden_size, heads.num_qo_heads * size, "row")


def _mla_layers(spec: ModelSpec) -> Iterator[Linear]:
    mla = spec.mla
    if mla is None:
        return
    q_dim = mla.num_heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
    kv_a = mla.kv_lora_rank + mla.qk_rope_head_dim
    hidden = spec.hidden_size
    if mla.q_lora_rank is None:
        yield Linear("MLA q", q_dim, hidden, "column")
        yield Linear("MLA kv down-projection with rope key", kv_a, hidden, None)
    else:
        yield Linear("MLA q and kv down-projections, fused", mla.q_lora_rank + kv_a, hidden, None)
        yield Linear("MLA q up-projection", q_dim, mla.q_lora_rank, "column")
    kv_dim = mla.num_heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    yield Linear("MLA kv up-projection", kv_dim, mla.kv_lora_rank, "column")
    yield Linear("MLA output", hidden, mla.num_heads * mla.v_head_dim, "row")


def _gdn_layers(spec: ModelSpec) -> Iterator[Linear]:
    gdn = spec.gdn
    if gdn is None:
        return
    keys, values = gdn.num_k_heads * gdn.head_k_dim, gdn.num_v_heads * gdn.head_v_dim
    yield Linear("GDN q, k, v and gate", 2 * keys + 2 * values, spec.hidden_size, "column")
    yield Linear("GDN beta and decay", 2 * gdn.num_v_heads, spec.hidden_size, "column")
    yield Linear("GDN output", spec.hidden_size, values, "row")


def _mamba_layers(spec: ModelSpec) -> Iterator[Linear]:
    mamba = spec.mamba
    if mamba is None:
        return
    inner = mamba.num_heads * mamba.head_dim
    width = 2 * inner + 2 * mamba.n_groups * mamba.state_size + mamba.num_heads
    yield Linear("Mamba gate, x, B, C and dt", width, spec.hidden_size, "column")
    yield Linear("Mamba output", spec.hidden_size, inner, "row")


def _mlp_layers(spec: ModelSpec) -> Iterator[Linear]:
    hidden = spec.hidden_size
    if spec.has_mlp("dense") and spec.intermediate_size is not None:
        yield from _mlp(spec.intermediate_size, hidden, gated=spec.mlp_gated, what="MLP")
    moe = spec.moe
    if moe is None:
        return
    yield Linear("MoE router", moe.num_experts, hidden, None, always_16bit=True)
    if moe.shared_intermediate_size is not None:
        size = moe.shared_intermediate_size
        yield from _mlp(size, hidden, gated=moe.gated, what="shared expert")
    if moe.shared_expert_gate:
        yield Linear("shared expert gate", 1, hidden, None, always_16bit=True)


def _mlp(size: int, hidden: int, *, gated: bool, what: str) -> Iterator[Linear]:
    if gated:
        yield Linear(f"{what} gate and up", 2 * size, hidden, "column")
    else:
        yield Linear(f"{what} up", size, hidden, "column")
    yield Linear(f"{what} down", hidden, size, "row")


def _sharded(layer: Linear, parallel: Parallelism) -> tuple[int, int]:
    if layer.split == "column":
        return parallel.heads(layer.n, what=f"columns of {layer.what}"), layer.k
    if layer.split == "row":
        return layer.n, parallel.heads(layer.k, what=f"rows of {layer.what}")
    return layer.n, layer.k


FAMILY = Gemm()
