"""The modules of real models: how many of each, under which parent, with which definitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kernelkit.errors import ConfigError
from kernelkit.models.auxiliary import read_auxiliary
from kernelkit.models.config import parse_config
from kernelkit.models.load import Model, load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.gemm import linear_layers
from kernelkit.webmodel.generate import Generated, Wanted, generate
from kernelkit.webmodel.hierarchy import hierarchy
from kernelkit.webmodel.mapping import Sizes
from kernelkit.webmodel.tree import LINEARS

Made = Callable[..., Generated]
ModelOf = Callable[[str], Model]
CONFIGS = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "configs").glob("*.json"))


def _counts(made: Generated, *names: str) -> dict[str, int]:
    return {name: made.entry.modules[name].count for name in names}


def _parents(made: Generated, name: str) -> list[str]:
    found, above = [], made.entry.modules[name].parent
    while above is not None:
        found.append(above)
        above = made.entry.modules[above].parent
    return found


def test_dense_model(made: Made) -> None:
    llama = made("Llama-3.1-8B")
    assert list(llama.entry.modules) == [
        "LlamaForCausalLM", "LlamaModel", "embed_tokens", "layers", "LlamaDecoderLayer",
        "input_layernorm", "self_attn", "qkv_proj", "rotary_emb", "attn", "o_proj",
        "post_attention_layernorm", "mlp", "gate_up_proj", "act_fn", "down_proj", "norm", "lm_head",
        "sampler",
    ]  # fmt: skip
    modules = llama.entry.modules
    assert {m.count for name, m in modules.items() if "layers" in _parents(llama, name)} == {32}
    assert modules["qkv_proj"].definitions == ("gemm_n6144_k4096",)
    assert modules["o_proj"].definitions == ("gemm_n4096_k4096",)
    assert modules["gate_up_proj"].definitions == ("gemm_n28672_k4096",)
    assert modules["down_proj"].definitions == ("gemm_n4096_k14336",)
    assert modules["input_layernorm"].definitions == ("rmsnorm_h4096", "fused_add_rmsnorm_h4096")
    assert modules["post_attention_layernorm"].definitions == ("fused_add_rmsnorm_h4096",)
    assert "gqa_paged_decode_h32_kv8_d128_ps1" in modules["attn"].definitions
    assert llama.entry.name == "Llama 3.1 8B"


def test_dense_first_moe_with_mla_and_mtp(made: Made) -> None:
    deepseek = made("DeepSeek-V3")
    counts = {
        "layers": 61, "DeepseekV2DecoderLayer": 61, "self_attn": 61, "attn_mla": 61, "mlp": 61,
        "mlp_dense": 3, "gate_up_proj": 3, "moe": 58, "moe_experts": 58, "shared_experts": 58,
        "DeepseekV3ForCausalLMNextN": 1, "DeepseekV2DecoderLayer_mtp": 1, "moe_mtp": 1, "norm": 1,
    }  # fmt: skip
    assert _counts(deepseek, *counts) == counts
    modules = deepseek.entry.modules
    assert modules["moe_gate"].definitions == ("gemm_n256_k7168",)  # the router stays 16-bit
    assert modules["q_b_proj"].definitions == ()  # float8
    assert modules["q_a_layernorm"].definitions == ("rmsnorm_h1536",)
    assert modules["kv_a_layernorm"].definitions == ("rmsnorm_h512",)
    assert _parents(deepseek, "moe_mtp")[-2:] == [
        "DeepseekV3ForCausalLMNextN", "DeepseekV3ForCausalLM"]  # fmt: skip
    assert "mlp_dense_mtp" not in modules


def test_first_dense_layers_follow_the_config(made: Made) -> None:
    assert _counts(made("Kimi-K2"), "mlp_dense", "moe") == {"mlp_dense": 1, "moe": 60}
    assert _counts(made("GLM-4.5"), "mlp_dense", "moe") == {"mlp_dense": 3, "moe": 89}
    assert _counts(made("DeepSeek-V2-Lite"), "mlp_dense", "moe") == {"mlp_dense": 1, "moe": 26}
    lite = made("DeepSeek-V2-Lite").entry.modules
    assert {"q_proj", "kv_a_proj_with_mqa"} <= lite.keys()  # no q_lora_rank
    assert "q_b_proj" not in lite


def test_sparse_attention(made: Made) -> None:
    sparse = made("DeepSeek-V3.2")
    assert _counts(sparse, "indexer", "attn_mla") == {"indexer": 61, "attn_mla": 61}
    definitions = sparse.entry.modules["attn_mla"].definitions
    assert any(name.startswith("dsa_sparse_attention_") for name in definitions)
    assert not any(name.startswith("mla_paged_") for name in definitions)
    assert all(name.startswith("mla_paged_") for name in sparse.report["not_placed"])


def test_gated_delta_net(made: Made) -> None:
    hybrid = made("Qwen3-Next")
    counts = {
        "layers": 48, "Qwen3HybridLinearDecoderLayer": 36, "Qwen3HybridAttentionDecoderLayer": 12,
        "attn_gdn": 36, "attn": 12, "moe_gdn": 36, "moe_gqa": 12, "moe_experts_gdn": 36,
        "shared_expert_gate_gqa": 12,
    }  # fmt: skip
    assert _counts(hybrid, *counts) == counts
    modules = hybrid.entry.modules
    # The model's first layer is a linear one: attention layers always have a residual.
    assert len(modules["input_layernorm_gdn"].definitions) == 2
    assert modules["input_layernorm_gqa"].definitions == ("gemma_fused_add_rmsnorm_h2048",)
    assert "gdn_decode_qk16_v32_d128_k_last" in modules["attn_gdn"].definitions
    assert modules["qkv_proj"].definitions == ("gemm_n9216_k2048",)  # with the output gate


def test_draft_layer_of_a_hybrid_has_attention(made: Made) -> None:
    hybrid = made("Qwen3.5-35B")
    assert _counts(hybrid, "attn_gdn", "attn", "attn_mtp") == {
        "attn_gdn": 30, "attn": 10, "attn_mtp": 1}  # fmt: skip
    assert "attn_gdn_mtp" not in hybrid.entry.modules
    assert hybrid.entry.description.endswith("language model only.")


def test_blocks_of_one_mixer_or_one_mlp(made: Made) -> None:
    nemotron = made("Nemotron-H-56B")
    counts = {
        "layers": 118, "NemotronHMambaDecoderLayer": 54, "NemotronHMLPDecoderLayer": 54,
        "NemotronHAttentionDecoderLayer": 10, "norm_mamba": 54, "norm_mlp": 54, "norm_attn": 10,
        "ssm": 54, "up_proj": 54, "attn": 10, "norm_f": 1,
    }  # fmt: skip
    assert _counts(nemotron, *counts) == counts
    assert "rotary_emb" not in nemotron.entry.modules
    assert nemotron.entry.modules["up_proj"].definitions == ("gemm_n32768_k8192",)  # no gate


def test_parallel_mixers_in_each_layer(made: Made) -> None:
    falcon = made("Falcon-H1-7B")
    assert _counts(falcon, "self_attn", "mamba", "ssm", "attn", "feed_forward") == {
        "self_attn": 44, "mamba": 44, "ssm": 44, "attn": 44, "feed_forward": 44}  # fmt: skip
    assert falcon.entry.modules["mamba"].parent == falcon.entry.modules["self_attn"].parent


def test_mamba_alone(made: Made) -> None:
    plain = made("mamba2-2.7b")
    assert _counts(plain, "layers", "ssm") == {"layers": 64, "ssm": 64}
    assert not {"mlp", "self_attn"} & plain.entry.modules.keys()
    assert list(plain.entry.modules)[0] == "MambaLMHeadModel"


def test_windows_and_chunks(made: Made) -> None:
    gemma = made("gemma-3-27b")
    assert _counts(gemma, "attn_sliding", "attn_full") == {"attn_sliding": 52, "attn_full": 10}
    assert "window of 1024" in gemma.report["modules"]["attn_sliding"]["note"]
    assert "note" not in gemma.report["modules"]["attn_full"]
    assert "pre_feedforward_layernorm_sliding" in gemma.entry.modules
    oss = made("gpt-oss-20b")
    assert _counts(oss, "attn_sliding", "attn_full") == {"attn_sliding": 12, "attn_full": 12}
    llama4 = made("Llama-4-Scout")
    assert _counts(llama4, "attn_chunked", "attn_full", "rotary_emb", "qk_norm") == {
        "attn_chunked": 36, "attn_full": 12, "rotary_emb": 36, "qk_norm": 36}  # fmt: skip


def test_chunks_follow_the_config(model_of: ModelOf) -> None:
    model = model_of("Llama-4-Scout")
    text = {**model.config["text_config"], "no_rope_layers": [1, 0] * 24}
    config = {**model.config, "text_config": text}
    assert len(read_auxiliary(config, model.spec).chunked) == 24
    listed = ["chunked_attention"] * 8 + ["full_attention"] * 40
    config = {**model.config, "text_config": {**text, "layer_types": listed}}
    assert read_auxiliary(config, model.spec).chunked == frozenset(range(8))
    config = {**model.config, "text_config": {**text, "no_rope_layers": [1]}}
    with pytest.raises(ConfigError, match="no_rope_layers"):
        read_auxiliary(config, model.spec)


def test_draft_layers_follow_the_config(model_of: ModelOf) -> None:
    model = model_of("DeepSeek-V3")
    for count in (0, 2):
        config = {**model.config, "num_nextn_predict_layers": count}
        made = generate(replace(model, config=config), Wanted(Sizes((Parallelism(),))))
        found = made.entry.modules.get("attn_mla_mtp")
        assert (found.count if found else 0) == count
    with pytest.raises(ConfigError, match="num_nextn_predict_layers"):
        read_auxiliary({**model.config, "num_nextn_predict_layers": "1"}, model.spec)


def test_unknown_architecture(model_of: ModelOf) -> None:
    config = {"architectures": ["OtherForCausalLM"], "hidden_size": 256, "num_hidden_layers": 3,
              "num_attention_heads": 4, "vocab_size": 1000, "intermediate_size": 512,
              "rms_norm_eps": 1e-5, "rope_theta": 1e4}  # fmt: skip
    model = replace(model_of("Llama-3.1-8B"), config=config, spec=parse_config(config))
    made = generate(model, Wanted(Sizes((Parallelism(),))))
    assert made.entry.modules["OtherDecoderLayer"].count == 3
    assert made.entry.modules["OtherModel"].parent == "OtherForCausalLM"


def _check_tree(path: Path) -> None:
    """Layers add up, children are as often as their parents, every definition has its place."""
    model = load_model(None, None, path)
    made = generate(model, Wanted(Sizes((Parallelism(),))))
    modules = made.entry.modules
    groups = [m.count for m in modules.values() if m.parent == "layers"]
    assert sum(groups) == modules["layers"].count == model.spec.num_layers
    for name, module in modules.items():
        if "layers" in _parents(made, name):
            assert module.count <= modules[str(module.parent)].count, name
    mixers = {"attn": ("attention", "sliding_attention"), "attn_mla": ("mla",),
              "attn_gdn": ("gdn",), "ssm": ("mamba",)}  # fmt: skip
    for sublayer, kinds in mixers.items():
        placed = [p for p in made.modules if p.sublayer == sublayer and "mtp" not in p.name]
        want = sum(bool(set(layer.mixer.split("+")) & set(kinds)) for layer in model.spec.layers)
        assert sum(p.count for p in placed) == want, sublayer
    experts = [p for p in made.modules if p.sublayer == "moe_experts" and "mtp" not in p.name]
    assert sum(p.count for p in experts) == sum(la.mlp == "moe" for la in model.spec.layers)
    assert {layer.what for layer in linear_layers(model.spec, Parallelism())} <= LINEARS.keys()
    rest = [n for n in made.report["not_placed"] if not n.startswith("mla_paged_")]
    assert rest in ([], ["gemma_fused_add_rmsnorm_h5376"])  # Gemma-3 adds outside of its norms
    json.dumps(made.report, allow_nan=False)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_tree_of_every_fixture(path: Path) -> None:
    _check_tree(path)


def test_tree_of_every_config_at_hand(extra: Path) -> None:
    paths = sorted((extra / "data" / "model_configs").glob("*__*.json"))
    assert len(paths) >= 44
    for path in paths:
        _check_tree(path)


def test_names_are_unique() -> None:
    for path in CONFIGS:
        model = load_model(None, None, path)
        names = [p.name for p in hierarchy(model.spec, read_auxiliary(model.config, model.spec))]
        assert len(names) == len(set(names)), path.stem
