"""ModelSpec: a model's architecture in the field's terms, with the source of each value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

MIXERS = ("attention", "sliding_attention", "mla", "gdn", "mamba", "attention+mamba", "none")
MLPS = ("dense", "moe", "none")
ROUTINGS = ("default", "renorm", "ds", "llama4", "renorm_naive", "topk", "sparsemixer")


@dataclass(frozen=True)
class Layer:
    """One decoder layer: its token mixer (one of MIXERS) and its MLP (one of MLPS)."""

    mixer: str
    mlp: str


@dataclass(frozen=True)
class AttentionSpec:
    """Softmax attention. Head counts are the whole model's, before tensor parallelism."""

    num_qo_heads: int
    num_kv_heads: int
    head_dim: int
    sm_scale: float  # multiplies q.k; 1/sqrt(head_dim) unless the config says otherwise
    # "per_head": one RMSNorm of head_dim; "full": of heads * head_dim; "l2": per head, no weight
    qk_norm: str | None = None
    output_gate: bool = False  # q_proj also yields a gate of the size of q (Qwen3-Next, Qwen3.5)
    sliding_window: int | None = None
    logit_softcap: float | None = None
    sinks: bool = False  # learned per-head sink logits (gpt-oss)
    chunk_size: int | None = None  # layers with rope attend within chunks of it (Llama-4)


@dataclass(frozen=True)
class RopeSpec:
    """Rotary embedding of the first rotary_dim of head_dim dimensions."""

    head_dim: int
    rotary_dim: int
    theta: float
    kind: str = "default"  # rope_type of the config: default, llama3, yarn, linear, longrope, ...
    is_neox: bool = True  # split halves; False: interleaved pairs (GPT-J)


@dataclass(frozen=True)
class MlaSpec:
    """Multi-head latent attention (DeepSeek-V2 and later)."""

    num_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    sm_scale: float  # 1/sqrt(qk_nope_head_dim + qk_rope_head_dim), times yarn's mscale^2 if set


@dataclass(frozen=True)
class DsaSpec:
    """DeepSeek sparse attention: the indexer's dims. Its heads are not divided by TP."""

    index_n_heads: int
    index_head_dim: int
    index_topk: int


@dataclass(frozen=True)
class GdnSpec:
    """Gated delta net (linear attention)."""

    num_k_heads: int
    num_v_heads: int
    head_k_dim: int
    head_v_dim: int
    conv_kernel_dim: int


@dataclass(frozen=True)
class MambaSpec:
    """Mamba-2 selective state space mixer."""

    num_heads: int
    head_dim: int
    state_size: int
    n_groups: int
    conv_kernel_dim: int
    state_dtype: str = "bfloat16"


@dataclass(frozen=True)
class MoeSpec:
    """Mixture of experts. routing is one of ROUTINGS, None where it could not be decided."""

    num_experts: int
    top_k: int
    intermediate_size: int
    routing: str | None
    n_group: int = 1
    topk_group: int = 1
    routing_bias: bool = False
    routed_scaling_factor: float = 1.0
    shared_intermediate_size: int | None = None  # all shared experts together
    shared_expert_gate: bool = False
    gated: bool = True  # gate and up projections; False: up only
    activation: str = "silu"
    latent_size: int | None = None  # experts see hidden states projected to it (Nemotron-3 Super)


@dataclass(frozen=True)
class Quantization:
    """How the weights are stored; `linear`: the dense linear layers are quantized too."""

    kind: str  # "fp8_block", "fp8_per_tensor", "mxfp4", "nvfp4", "int4", or the config's own word
    linear: bool
    experts: bool
    block: tuple[int, int] | None = None


@dataclass(frozen=True)
class ModelSpec:
    """One model. Parts that it does not have are None.

    sources maps each field (dotted, e.g. "attention.head_dim") to the config field it came from,
    or to "class default: <why>". undecided lists op families that the config leaves open.
    """

    architecture: str
    model_type: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    layers: tuple[Layer, ...]
    norm_kind: str = "rmsnorm"  # "rmsnorm", "gemma_rmsnorm" (x * (1 + w)) or "layernorm"
    norm_eps: float = 1e-6
    intermediate_size: int | None = None  # of dense MLP layers
    mlp_gated: bool = True  # gate and up projections fused as one GEMM of 2 * intermediate_size
    activation: str = "silu"
    tie_word_embeddings: bool = False
    dtype: str = "bfloat16"
    attention: AttentionSpec | None = None
    rope: RopeSpec | None = None
    mla: MlaSpec | None = None
    dsa: DsaSpec | None = None
    gdn: GdnSpec | None = None
    mamba: MambaSpec | None = None
    moe: MoeSpec | None = None
    quantization: Quantization | None = None
    sources: dict[str, str] = field(default_factory=dict)
    undecided: tuple[str, ...] = ()

    def has_mixer(self, *kinds: str) -> bool:
        """Whether any layer's mixer contains one of `kinds` ("attention+mamba" contains both)."""
        return any(kind in layer.mixer.split("+") for layer in self.layers for kind in kinds)

    def has_mlp(self, kind: str) -> bool:
        """Whether any layer's MLP is `kind`."""
        return any(layer.mlp == kind for layer in self.layers)

    def counts(self) -> dict[str, int]:
        """How many layers have each (mixer, mlp) pair, as "mixer/mlp"."""
        found: dict[str, int] = {}
        for layer in self.layers:
            key = f"{layer.mixer}/{layer.mlp}"
            found[key] = found.get(key, 0) + 1
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types; the layers as counts and as a list of "mixer/mlp"."""
        plain = asdict(self)
        plain["layers"] = [f"{layer.mixer}/{layer.mlp}" for layer in self.layers]
        plain["layer_counts"] = self.counts()
        return plain
