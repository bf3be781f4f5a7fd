"""ModelSpecs that between them reach every op family; dims as real models have them."""

from __future__ import annotations

from kernelkit.models.spec import (
    AttentionSpec,
    DsaSpec,
    GdnSpec,
    Layer,
    MambaSpec,
    MlaSpec,
    ModelSpec,
    MoeSpec,
    RopeSpec,
)

DENSE = ModelSpec(
    architecture="LlamaForCausalLM",
    model_type="llama",
    num_layers=1,
    hidden_size=4096,
    vocab_size=128256,
    layers=(Layer("attention", "dense"),),
    norm_eps=1e-5,
    intermediate_size=14336,
    attention=AttentionSpec(32, 8, 128, 128**-0.5, qk_norm="per_head"),
)
LATENT = ModelSpec(
    architecture="DeepseekV32ForCausalLM",
    model_type="deepseek_v32",
    num_layers=2,
    hidden_size=7168,
    vocab_size=129280,
    layers=(Layer("mla", "dense"), Layer("mla", "moe")),
    intermediate_size=18432,
    mla=MlaSpec(128, 1536, 512, 128, 64, 128, 192**-0.5),
    dsa=DsaSpec(64, 128, 2048),
    moe=MoeSpec(256, 8, 2048, "ds", n_group=8, topk_group=4, routing_bias=True),
)
LINEAR = ModelSpec(
    architecture="Qwen3NextForCausalLM",
    model_type="qwen3_next",
    num_layers=2,
    hidden_size=2048,
    vocab_size=151936,
    layers=(Layer("gdn", "moe"), Layer("attention", "moe")),
    norm_kind="gemma_rmsnorm",
    attention=AttentionSpec(16, 2, 256, 256**-0.5, qk_norm="per_head", output_gate=True),
    rope=RopeSpec(256, 64, 1e7),
    gdn=GdnSpec(16, 32, 128, 128, 4),
    moe=MoeSpec(512, 10, 512, "renorm", shared_intermediate_size=512, shared_expert_gate=True),
)
HYBRID = ModelSpec(
    architecture="NemotronHForCausalLM",
    model_type="nemotron_h",
    num_layers=3,
    hidden_size=4096,
    vocab_size=131072,
    layers=(Layer("mamba", "none"), Layer("none", "dense"), Layer("attention", "none")),
    norm_eps=1e-5,
    intermediate_size=21504,
    mlp_gated=False,
    attention=AttentionSpec(32, 8, 128, 128**-0.5),
    mamba=MambaSpec(128, 64, 128, 8, 4),
)
ROUTED = ModelSpec(
    architecture="Llama4ForCausalLM",
    model_type="llama4",
    num_layers=1,
    hidden_size=5120,
    vocab_size=202048,
    layers=(Layer("attention", "moe"),),
    attention=AttentionSpec(40, 8, 128, 128**-0.5),
    moe=MoeSpec(16, 1, 8192, "llama4"),
)
ALL_SPECS = (DENSE, LATENT, LINEAR, HYBRID, ROUTED)
