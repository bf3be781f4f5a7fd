"""The families whose layers keep states (gated delta nets, Mamba), by hand, on real configs."""

from __future__ import annotations

from model_configs import bundled, parse

from kernelkit.models.config import parse_config
from kernelkit.models.spec import (
    AttentionSpec,
    GdnSpec,
    MambaSpec,
    MoeSpec,
)


def test_qwen3_next() -> None:
    spec = parse("Qwen3-Next")
    assert spec.gdn == GdnSpec(16, 32, 128, 128, 4)
    assert spec.attention is not None and spec.attention.output_gate
    assert spec.sources["attention.output_gate"] == "class default: Qwen3NextConfig"
    assert spec.norm_kind == "gemma_rmsnorm"
    assert spec.rope is not None and (spec.rope.head_dim, spec.rope.rotary_dim) == (256, 64)
    assert [layer.mixer for layer in spec.layers[:5]] == ["gdn", "gdn", "gdn", "attention", "gdn"]
    assert spec.moe is not None
    assert (spec.moe.shared_intermediate_size, spec.moe.shared_expert_gate) == (512, True)


def test_qwen35_reads_the_nested_text_config() -> None:
    spec = parse("Qwen3.5-35B")
    assert spec.sources["hidden_size"] == "text_config.hidden_size"
    assert spec.sources["rope.theta"] == "text_config.rope_parameters.rope_theta"
    assert spec.rope is not None and (spec.rope.theta, spec.rope.rotary_dim) == (1e7, 64)
    assert spec.counts() == {"gdn/moe": 30, "attention/moe": 10}
    assert spec.moe is not None and spec.moe.routing == "renorm"
    assert spec.sources["tie_word_embeddings"] == "tie_word_embeddings"


def test_nemotron_h() -> None:
    spec = parse("Nemotron-H-56B")
    assert spec.counts() == {"mamba/none": 54, "none/dense": 54, "attention/none": 10}
    assert spec.mamba == MambaSpec(256, 64, 256, 8, 4)
    assert spec.attention == AttentionSpec(64, 8, 128, 128**-0.5)
    assert spec.rope is None
    assert (spec.mlp_gated, spec.activation, spec.norm_eps) == (False, "relu2", 1e-5)


def test_nemotron_moe_blocks() -> None:
    config = {
        **bundled("Nemotron-H-56B"), "hybrid_override_pattern": "ME*-", "num_hidden_layers": 4,
        "n_routed_experts": 128, "num_experts_per_tok": 6, "moe_intermediate_size": 1856,
        "moe_shared_expert_intermediate_size": 3712, "routed_scaling_factor": 2.5,
    }  # fmt: skip
    spec = parse_config(config)
    assert [layer.mlp for layer in spec.layers] == ["none", "moe", "none", "dense"]
    assert spec.moe == MoeSpec(
        128, 6, 1856, "ds", routing_bias=True, routed_scaling_factor=2.5,
        shared_intermediate_size=3712, gated=False, activation="relu2",
    )  # fmt: skip


def test_nemotron_layer_words_without_a_count() -> None:
    config = bundled("Nemotron-H-56B")
    del config["hybrid_override_pattern"], config["num_hidden_layers"]
    config["layers_block_type"] = ["mamba", "mlp", "attention"]
    spec = parse_config(config)
    assert spec.num_layers == 3 and spec.layers[2].mixer == "attention"


def test_mamba_ssm_style() -> None:
    spec = parse("mamba2-2.7b")
    assert spec.mamba == MambaSpec(80, 64, 128, 1, 4)
    assert spec.counts() == {"mamba/none": 64}
    assert spec.vocab_size == 50288  # 50277, padded to 16
    assert spec.sources["hidden_size"] == "d_model"
    assert spec.sources["mamba.state_size"] == "class default: mamba_ssm.Mamba2"
    assert spec.attention is None and spec.rope is None and spec.intermediate_size is None


def test_mamba_ssm_first_generation_is_undecided() -> None:
    spec = parse_config({**bundled("mamba2-2.7b"), "ssm_cfg": {"layer": "Mamba1"}})
    assert spec.undecided == ("mamba_ssu",) and spec.mamba is None


def test_mamba2_of_transformers() -> None:
    spec = parse_config(
        {"architectures": ["Mamba2ForCausalLM"], "hidden_size": 128, "num_hidden_layers": 2,
         "vocab_size": 10, "num_heads": 4, "head_dim": 64, "n_groups": 2, "state_size": 32}
    )  # fmt: skip
    assert spec.mamba == MambaSpec(4, 64, 32, 2, 4)


def test_falcon_h1_is_parallel() -> None:
    spec = parse("Falcon-H1-7B")
    assert spec.counts() == {"attention+mamba/dense": 44}
    assert spec.has_mixer("attention") and spec.has_mixer("mamba")
    assert spec.mamba == MambaSpec(24, 128, 256, 1, 4)
    assert spec.norm_eps == 1e-5 and spec.rope is not None and spec.rope.theta == 100000.0


def test_falcon_h1_head_dim_from_the_inner_width() -> None:
    config = bundled("Falcon-H1-7B")
    del config["mamba_d_head"]
    spec = parse_config(config)
    assert spec.mamba is not None and spec.mamba.head_dim == 128


def test_granite_hybrid() -> None:
    spec = parse("granite-4.0-h-tiny")
    assert spec.counts() == {"mamba/moe": 36, "attention/moe": 4}
    assert spec.mamba == MambaSpec(48, 64, 128, 1, 4)
    assert spec.moe == MoeSpec(64, 6, 512, "renorm", shared_intermediate_size=1024)
    assert spec.rope is None  # position_embedding_type is not rope


def test_granite_fields_that_an_extract_omits() -> None:
    spec = parse("granite-4.0-h-small")
    assert spec.counts() == {"mamba/moe": 36, "attention/moe": 4}
    assert "no layer_types" in spec.sources["layers"]
    assert spec.mamba == MambaSpec(128, 64, 128, 1, 4)
    assert spec.sources["norm_eps"] == "class default: GraniteMoeHybridConfig"


def test_granite_multiplier_and_dense_sizes() -> None:
    config = {**bundled("granite-4.0-h-tiny"), "num_local_experts": 0,
              "attention_multiplier": 0.0078125, "position_embedding_type": "rope"}  # fmt: skip
    spec = parse_config(config)
    assert spec.moe is None and spec.intermediate_size == 1024
    assert spec.counts() == {"mamba/dense": 36, "attention/dense": 4}
    assert spec.attention is not None and spec.attention.sm_scale == 0.0078125
    assert spec.rope is not None


def test_state_dtype_is_read() -> None:
    spec = parse_config({**bundled("Nemotron-H-56B"), "mamba_ssm_cache_dtype": "float32"})
    assert spec.mamba is not None and spec.mamba.state_dtype == "float32"
