"""The config object that a model class is built from.

The raw config.json where it is given, then the class defaults, then what a ModelSpec says under the
names that HuggingFace configs use. A config class of the tree itself is run, so that its derived
attributes (`layers_block_type`) are its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kernelkit.models import architectures
from kernelkit.models.recognise import text_scope
from kernelkit.models.spec import Layer, ModelSpec
from kernelkit.sglang.interpret import calls, classes, lookup
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import Bound, ClassRef, Instance, Native, Unknown

_NESTED = ("text_config", "llm_config", "language_config", "thinker_config")


def config_object(m: Machine, spec: ModelSpec, raw: Mapping[str, Any] | None) -> Instance:
    """The config as the model class sees it; open where neither source says."""
    if not spec.layers:
        return _open_object(spec)
    plain = dict(raw or {})
    text = dict(text_scope(plain)[0]) if plain else {}
    inner = _object(m, spec, text or plain)
    nested = next((key for key in _NESTED if isinstance(plain.get(key), dict)), None)
    if nested is None and not _multimodal(spec):
        return _finish(inner, inner)
    outer = _object(m, spec, plain)
    outer.attrs[nested or "text_config"] = inner
    return _finish(outer, inner)


def _open_object(spec: ModelSpec) -> Instance:
    """A config of which nothing is known but the architecture."""
    made = Instance(None, {"architectures": [spec.architecture]})
    made.fallback = lambda attr: Unknown(f"config.{attr}")
    return _finish(made, made)


def _multimodal(spec: ModelSpec) -> bool:
    return spec.architecture.endswith("ForConditionalGeneration")


def _finish(outer: Instance, inner: Instance) -> Instance:
    outer.attrs["get_text_config"] = Native(lambda *args, **kwargs: inner)
    return outer


def _object(m: Machine, spec: ModelSpec, raw: Mapping[str, Any]) -> Instance:
    """One config: its own class of the tree, if there is one, run on `raw`."""
    model_type = raw.get("model_type") or spec.model_type
    cls = config_class(m, str(model_type))
    made = Instance(cls, {**raw, "architectures": [spec.architecture]})
    made.attrs.setdefault("model_type", model_type)
    row = architectures.find(spec.architecture, str(model_type))
    given = {**named_as_hf(spec), **dict(row.defaults if row else {}), **raw}
    if "rope_theta" in given:
        given.setdefault("rope_parameters", _rope_parameters(given))
    made.fallback = lambda attr: given.get(attr, Unknown(f"config.{attr}"))
    if cls is not None:
        _run_init(m, made, given, raw)
    return made


def _rope_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """As transformers 5 puts a config's rope fields together."""
    scaling = given.get("rope_scaling")
    made = {"rope_type": "default", "rope_theta": given["rope_theta"]}
    made |= scaling if isinstance(scaling, dict) else {}
    if isinstance(scaling, dict) and "type" in scaling:
        made["rope_type"] = scaling["type"]
    return made


def _run_init(m: Machine, made: Instance, given: dict[str, Any], raw: Mapping[str, Any]) -> None:
    assert made.cls is not None
    found = classes.find_member(m, made.cls, "__init__")
    init = classes.bind_member(m, found[0], "__init__", found[1], made) if found else None
    if not isinstance(init, Bound):
        return
    kwargs = {k: v for k, v in given.items() if "." not in k}
    frame = Frame(made.cls.file, ({},), made.cls.name)
    calls.call_function(m, init.function, [], kwargs, made, made.cls.node, frame)
    # What the class's bases outside the tree would set from the rest of the arguments.
    for key, value in raw.items():
        if isinstance(made.attrs.get(key, Unknown()), Unknown):
            made.attrs[key] = value


def config_class(m: Machine, model_type: str) -> ClassRef | None:
    """The class of `srt/configs` with this `model_type`."""
    folder = m.files.roots["sglang"] / "srt" / "configs"
    wanted = re.compile(rf"^    model_type\b[^=\n]*=\s*['\"]{re.escape(model_type)}['\"]", re.M)
    for path in sorted(folder.glob("*.py")):
        if not wanted.search(path.read_text(encoding="utf-8", errors="replace")):
            continue
        file = m.files.find(f"sglang.srt.configs.{path.stem}")
        for value in lookup.run_file(m, file).names.values() if file else ():
            if isinstance(value, ClassRef) and "model_type" in value.members:
                if classes.class_member(m, value, "model_type") == model_type:
                    return value
    return None


def named_as_hf(spec: ModelSpec) -> dict[str, Any]:
    """A ModelSpec under the names of HuggingFace configs."""
    named: dict[str, Any] = {
        "num_hidden_layers": spec.num_layers, "hidden_size": spec.hidden_size,
        "vocab_size": spec.vocab_size, "rms_norm_eps": spec.norm_eps,
        "layer_norm_epsilon": spec.norm_eps, "intermediate_size": spec.intermediate_size,
        "hidden_act": spec.activation, "hidden_activation": spec.activation,
        "mlp_hidden_act": spec.activation, "tie_word_embeddings": spec.tie_word_embeddings,
        "torch_dtype": spec.dtype, "layer_types": [_layer_type(x, spec) for x in spec.layers],
        "full_attention_layer_ids": _attention_layers(spec),
        "hybrid_override_pattern": "".join(map(_letter, spec.layers)),
    }  # fmt: skip
    for part in (_rope, _attention, _latent, _linear, _experts):
        named.update(part(spec))
    return {k: v for k, v in named.items() if v is not None}


def _attention_layers(spec: ModelSpec) -> list[int]:
    return [i for i, layer in enumerate(spec.layers) if "attention" in layer.mixer]


def _layer_type(layer: Layer, spec: ModelSpec) -> str:
    attention = "attention" if spec.mamba else "full_attention"  # Granite's word, and all others'
    words = {"attention": attention, "gdn": "linear_attention", "mla": "full_attention"}
    return words.get(layer.mixer, layer.mixer)


def _letter(layer: Layer) -> str:
    """Nemotron-H's pattern: M Mamba, * attention, - MLP, E experts."""
    letters = {"mamba": "M", "attention": "*", "none": "E" if layer.mlp == "moe" else "-"}
    return letters.get(layer.mixer, "?")


def _rope(spec: ModelSpec) -> dict[str, Any]:
    """The rope's kind and base; the numbers of a scaled rope are not in a spec and stay open."""
    part = spec.rope
    if part is None:
        return {}
    scaling = None if part.kind == "default" else {"rope_type": part.kind}
    return {"rope_theta": part.theta, "rope_scaling": scaling}


def _attention(spec: ModelSpec) -> dict[str, Any]:
    part = spec.attention
    if part is None:
        return {}
    return {
        "num_attention_heads": part.num_qo_heads, "num_key_value_heads": part.num_kv_heads,
        "head_dim": part.head_dim, "sliding_window": part.sliding_window,
        "use_qk_norm": part.qk_norm is not None, "attn_output_gate": part.output_gate,
        "attn_logit_softcapping": part.logit_softcap, "attention_chunk_size": part.chunk_size,
    }  # fmt: skip


def _latent(spec: ModelSpec) -> dict[str, Any]:
    part, sparse = spec.mla, spec.dsa
    if part is None:
        return {}
    found: dict[str, Any] = {
        "num_attention_heads": part.num_heads, "num_key_value_heads": part.num_heads,
        "kv_lora_rank": part.kv_lora_rank, "qk_nope_head_dim": part.qk_nope_head_dim,
        "qk_rope_head_dim": part.qk_rope_head_dim, "v_head_dim": part.v_head_dim,
    }  # fmt: skip
    if sparse is not None:
        found |= {"index_topk": sparse.index_topk, "index_head_dim": sparse.index_head_dim,
                  "index_n_heads": sparse.index_n_heads}  # fmt: skip
    return found


def _linear(spec: ModelSpec) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (gdn := spec.gdn) is not None:
        found |= {
            "linear_num_key_heads": gdn.num_k_heads, "linear_num_value_heads": gdn.num_v_heads,
            "linear_key_head_dim": gdn.head_k_dim, "linear_value_head_dim": gdn.head_v_dim,
            "linear_conv_kernel_dim": gdn.conv_kernel_dim,
        }  # fmt: skip
    if (mamba := spec.mamba) is not None:
        for names, value in (
            (("mamba_num_heads", "mamba_n_heads", "num_heads"), mamba.num_heads),
            (("mamba_head_dim", "mamba_d_head"), mamba.head_dim),
            (("ssm_state_size", "mamba_d_state", "state_size"), mamba.state_size),
            (("n_groups", "mamba_n_groups"), mamba.n_groups),
            (("conv_kernel", "mamba_d_conv"), mamba.conv_kernel_dim),
        ):
            found |= dict.fromkeys(names, value)
    return found


def _experts(spec: ModelSpec) -> dict[str, Any]:
    part = spec.moe
    if part is None:
        return {}
    first = next((i for i, layer in enumerate(spec.layers) if layer.mlp == "moe"), 0)
    shared = part.shared_intermediate_size
    return {
        **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), part.num_experts),
        "num_experts_per_tok": part.top_k, "moe_intermediate_size": part.intermediate_size,
        "n_group": part.n_group, "topk_group": part.topk_group, "first_k_dense_replace": first,
        "routed_scaling_factor": part.routed_scaling_factor,
        "shared_expert_intermediate_size": shared or 0,
        "n_shared_experts": (shared // part.intermediate_size) or None if shared else None,
        "moe_latent_size": part.latent_size,
    }  # fmt: skip
