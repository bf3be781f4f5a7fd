"""A model's display name and its one-sentence description."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kernelkit.models import naming
from kernelkit.models.auxiliary import Auxiliary
from kernelkit.models.load import Model
from kernelkit.models.spec import ModelSpec
from kernelkit.webmodel.hierarchy import WORDS, groups

_TUNINGS = re.compile(r"[-_](instruct|it|chat|base|hf|thinking)([-_]\d{4})?$", re.IGNORECASE)
_KNOWN = Path(naming.__file__).with_name("known_models.json")
_UPPER = re.compile(r"(?:[a-z]?\d+(?:\.\d+)?[bkm]|moe|gpt|oss|glm|fp\d+|bf\d+)")


def display_name(model: Model, config: Path | None) -> str:
    """`Qwen/Qwen3-30B-A3B` gives `Qwen3 30B A3B`: the repository's spelling where it is known."""
    repo = model.repo_id or _published(model.slug) or (config.stem if config else "")
    last = repo.rsplit("/", 1)[-1].rsplit("__", 1)[-1]
    if naming.slug(last or "model") != model.slug:
        last = model.slug
    words = re.split(r"[-_]+", _TUNINGS.sub("", last).strip("-_ "))
    if last == last.lower():  # no spelling of its own
        words = [_cased(word) for word in words]
    return " ".join(words)


def _published(slug: str) -> str | None:
    known = json.loads(_KNOWN.read_text(encoding="utf-8"))
    return next((repo for repo in known if naming.slug(repo) == slug), None)


def _cased(word: str) -> str:
    return word.upper() if _UPPER.fullmatch(word) else word[:1].upper() + word[1:]


def description(spec: ModelSpec, auxiliary: Auxiliary) -> str:
    """Layers by kind, heads, experts: the facts that a reader compares models by."""
    parts = [_layers(spec, auxiliary), *_heads(spec), *_experts(spec)]
    if auxiliary.mtp_layers:
        plural = "s" if auxiliary.mtp_layers > 1 else ""
        parts.append(f"{auxiliary.mtp_layers} multi-token prediction layer{plural}")
    if auxiliary.towers:
        parts.append("language model only")
    return f"{spec.architecture}: {'; '.join(parts)}."


def _layers(spec: ModelSpec, auxiliary: Auxiliary) -> str:
    kinds = groups(spec, auxiliary)
    if len(kinds) == 1:
        return f"{spec.num_layers} layers of {WORDS.get(kinds[0].kind, kinds[0].kind)}"
    counts = ", ".join(f"{len(g.layers)} {WORDS.get(g.kind, g.kind)}" for g in kinds)
    return f"{spec.num_layers} layers ({counts})"


def _heads(spec: ModelSpec) -> list[str]:
    found = []
    if spec.attention is not None:
        heads = spec.attention
        found.append(
            f"{heads.num_qo_heads} query and {heads.num_kv_heads} KV heads of {heads.head_dim}"
        )
    if spec.mla is not None:
        found.append(f"{spec.mla.num_heads} heads over a latent of {spec.mla.kv_lora_rank}")
    if spec.dsa is not None:
        found.append(f"sparse attention to {spec.dsa.index_topk} tokens")
    if spec.gdn is not None:
        found.append(
            f"{spec.gdn.num_k_heads} key and {spec.gdn.num_v_heads} value heads in DeltaNet"
        )
    if spec.mamba is not None:
        mamba = spec.mamba
        found.append(f"{mamba.num_heads} Mamba heads of {mamba.head_dim}, state {mamba.state_size}")
    return found


def _experts(spec: ModelSpec) -> list[str]:
    if spec.moe is None:
        return []
    dense = sum(layer.mlp == "dense" for layer in spec.layers)
    kept = f", {dense} dense layer{'s' if dense > 1 else ''}" if dense else ""
    shared = ", with shared experts" if spec.moe.shared_intermediate_size is not None else ""
    return [f"{spec.moe.num_experts} experts, {spec.moe.top_k} per token{shared}{kept}"]
