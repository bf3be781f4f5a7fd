"""A config.json of one rank, with few layers: what SGLang needs to call every kernel in its shape.

Layers: one of each kind. Where the config lists its layers, those are chosen from the list;
elsewhere the shortest beginning of the model that has every kind is taken, after the period of a
pattern (`first_k_dense_replace`, `full_attention_interval`) was shortened. Heads, groups and
experts are divided by SGLang's rules. The result is read back: it must give the layers, heads and
experts that were meant.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from kernelkit.errors import ConfigError, UsageError
from kernelkit.models.config import parse_config
from kernelkit.models.parallelism import Parallelism
from kernelkit.models.recognise import text_scope
from kernelkit.models.spec import ModelSpec

Config = dict[str, Any]
LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
QUERY_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
TOP_K = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k", "top_k")
MAMBA_HEADS = ("mamba_num_heads", "mamba_n_heads")
MAMBA_GROUPS = ("mamba_n_groups", "n_groups")
GDN_HEADS = ("linear_num_key_heads", "linear_num_value_heads")
FEWEST_LAYERS = 2  # a first layer has no residual to add, a later one has
PERIODS = {"first_k_dense_replace": 1, "full_attention_interval": 2, "interleave_moe_layer_step": 2}
# These compute a head's size from hidden_size and the number of heads: dividing the heads changes
# the size. Seen in SGLang 0.5.14 and 0.5.23, in the model's own file.
DERIVES_HEAD_DIM = {
    "MixtralForCausalLM": "sglang/srt/models/mixtral.py",
    "Qwen2MoeForCausalLM": "sglang/srt/models/qwen2_moe.py",
    "GraniteMoeForCausalLM": "sglang/srt/models/granitemoe.py",
    "GraniteMoeHybridForCausalLM": "sglang/srt/models/granitemoehybrid.py",
}


@dataclass
class Reduced:
    """The config for the pass, what was changed (dotted field -> [old, new]), and its spec."""

    config: Config
    changes: dict[str, list[Any]] = field(default_factory=dict)
    spec: ModelSpec | None = None


def reduce_config(
    config: Config, parallel: Parallelism, *, layers: int | None, keep_quantization: bool = False
) -> Reduced:
    """The reduced config. `layers` asks for at least so many; None for as few as possible.

    Raises UsageError where the heads or experts do not divide, or SGLang would derive another head
    size from fewer heads; ConfigError where the result does not read back as meant.
    """
    whole = parse_config(config)
    made = Reduced(copy.deepcopy(config))
    text, prefix = text_scope(made.config)
    edit = _Editor(text, prefix, made.changes)
    _divide(edit, whole, parallel)
    _shorten(edit, whole, made.config, layers)
    _drop(made, keep_quantization)
    made.spec = parse_config(made.config)
    _check(whole, made.spec, parallel)
    return made


@dataclass
class _Editor:
    """Sets fields of the language model's part of a config and notes what changed."""

    text: MutableMapping[str, Any]
    prefix: str
    changes: dict[str, list[Any]]

    def set(self, name: str, value: Any) -> None:
        old = self.text.get(name)
        if old != value:
            first = self.changes.get(self.prefix + name, [old])[0]
            self.changes[self.prefix + name] = [first, value]
            self.text[name] = value

    def first(self, *names: str) -> str | None:
        return next((n for n in names if isinstance(self.text.get(n), int)), None)

    def scale(self, names: tuple[str, ...], value: int) -> None:
        for name in names:
            if isinstance(self.text.get(name), int):
                self.set(name, value)


def _divide(edit: _Editor, spec: ModelSpec, parallel: Parallelism) -> None:
    """Heads, groups and experts of one rank."""
    if parallel.tp > 1 and spec.architecture in DERIVES_HEAD_DIM and spec.attention is not None:
        raise UsageError(
            f"{spec.architecture}: SGLang derives head_dim from hidden_size and the number of "
            f"heads ({DERIVES_HEAD_DIM[spec.architecture]}); fewer heads would be of another size",
            received=f"tp={parallel.tp}",
            next_step="use --real-parallelism on that many GPUs, or tp=1",
        )
    if spec.attention is not None:
        heads = parallel.heads(spec.attention.num_qo_heads, what="query heads")
        edit.scale(QUERY_HEADS, heads)
        kv_heads = parallel.kv_heads(spec.attention.num_kv_heads)
        edit.set(edit.first(*KV_HEADS) or KV_HEADS[0], kv_heads)
        if parallel.tp > 1 and not _names_head_dim(edit.text):
            edit.set("head_dim", spec.attention.head_dim)
    if spec.mla is not None:
        heads = parallel.heads(spec.mla.num_heads, what="query heads")
        edit.scale((*QUERY_HEADS, *KV_HEADS), heads)
    _divide_recurrent(edit, spec, parallel)
    _divide_experts(edit, spec, parallel)


def _names_head_dim(text: MutableMapping[str, Any]) -> bool:
    names = ("head_dim", "attention_head_dim", "v_head_dim")
    return any(isinstance(text.get(name), int) for name in names)


def _divide_recurrent(edit: _Editor, spec: ModelSpec, parallel: Parallelism) -> None:
    if spec.gdn is not None:
        for name, count in zip(
            GDN_HEADS, (spec.gdn.num_k_heads, spec.gdn.num_v_heads), strict=True
        ):
            edit.set(name, parallel.heads(count, what="linear-attention heads"))
    if spec.mamba is None or parallel.tp == 1:
        return
    heads = parallel.heads(spec.mamba.num_heads, what="Mamba heads")
    edit.scale(MAMBA_HEADS, heads)
    for name in MAMBA_GROUPS:  # SGLang's Nemotron-H: the layer reads one, its cache the other
        edit.set(name, max(1, spec.mamba.n_groups // parallel.tp))
    inner = heads * spec.mamba.head_dim
    edit.scale(("mamba_d_ssm",), inner)
    if spec.attention is None:  # a pure Mamba-2 config: its own field names
        edit.scale(("num_heads",), heads)
        if "expand" in edit.text:
            edit.set("expand", _ratio(inner, spec.hidden_size))
    elif "mamba_expand" in edit.text:
        edit.set("mamba_expand", _ratio(inner, spec.hidden_size))


def _ratio(inner: int, hidden: int) -> int | float:
    return inner // hidden if inner % hidden == 0 else inner / hidden


def _divide_experts(edit: _Editor, spec: ModelSpec, parallel: Parallelism) -> None:
    if spec.moe is None or parallel.ep == 1:
        return
    experts = parallel.experts(spec.moe.num_experts)
    edit.scale(EXPERTS, experts)
    if spec.moe.top_k > experts:
        edit.scale(TOP_K, experts)
    groups = edit.text.get("n_group")
    if isinstance(groups, int) and groups > 1:
        while groups > 1 and (experts % groups or experts // groups < 2):
            groups //= 2
        edit.set("n_group", groups)
        edit.set("topk_group", min(edit.text.get("topk_group") or 1, groups))


def _shorten(edit: _Editor, spec: ModelSpec, config: Config, layers: int | None) -> None:
    """Fewer layers: all kinds of the whole model, and at least `layers`."""
    wanted = set(spec.layers)
    least = min(max(layers or FEWEST_LAYERS, len(wanted)), spec.num_layers)
    lists = list(_layer_lists(edit.text, spec.num_layers))
    if lists:
        chosen = _chosen(spec, least)
        for name, value in lists:
            picked = [value[index] for index in chosen]
            edit.set(name, "".join(picked) if isinstance(value, str) else picked)
        _set_count(edit, len(chosen))
        if isinstance(edit.text.get("full_attention_interval"), int) and len(chosen) == 2:
            edit.set("full_attention_interval", 2)
        return
    for name, period in PERIODS.items():
        if isinstance(edit.text.get(name), int) and edit.text[name] > period:
            edit.set(name, period)
    for count in range(least, spec.num_layers + 1):
        _set_count(edit, count)
        if set(parse_config(config).layers) == wanted:
            return
    raise ConfigError("no beginning of this model has every kind of layer", received=wanted)


def _layer_lists(text: MutableMapping[str, Any], count: int) -> Iterator[tuple[str, Any]]:
    """Fields with one entry a layer: a list, or a string of one letter a layer."""
    for name, value in text.items():
        is_pattern = isinstance(value, str) and name.endswith("pattern")
        if (isinstance(value, list) or is_pattern) and len(value) == count and count > 1:
            yield name, value


def _chosen(spec: ModelSpec, least: int) -> list[int]:
    """The first layer of each kind, then the first others, in order."""
    firsts = {layer: index for index, layer in reversed(list(enumerate(spec.layers)))}
    chosen = sorted(firsts.values())
    rest = [index for index in range(spec.num_layers) if index not in chosen]
    return sorted([*chosen, *rest[: max(0, least - len(chosen))]])


def _set_count(edit: _Editor, count: int) -> None:
    edit.scale(LAYER_COUNTS, count)
    for name in ("max_window_layers",):
        if isinstance(edit.text.get(name), int):
            edit.set(name, min(edit.text[name], count))


def _drop(made: Reduced, keep_quantization: bool) -> None:
    """What a pass with dummy weights must not have: remote code, quantization, deep vision."""
    for holder, prefix in ((made.config, ""), text_scope(made.config)):
        gone = ["auto_map"] if keep_quantization else ["auto_map", "quantization_config"]
        for name in gone:
            if name in holder:
                made.changes.setdefault(prefix + name, ["(removed)", None])
                del holder[name]  # type: ignore[attr-defined]
    vision = made.config.get("vision_config")
    for name in ("num_hidden_layers", "depth"):
        if isinstance(vision, dict) and isinstance(vision.get(name), int):
            made.changes[f"vision_config.{name}"] = [vision[name], 1]
            vision[name] = 1


def _check(whole: ModelSpec, made: ModelSpec, parallel: Parallelism) -> None:
    """Read back: the kinds of layers, and what a rank has of heads and experts."""
    meant: dict[str, tuple[Any, Any]] = {
        "kinds of layers": (set(whole.layers), set(made.layers)),
        "hidden_size": (whole.hidden_size, made.hidden_size),
        "vocab_size": (whole.vocab_size, made.vocab_size),
    }
    if whole.attention and made.attention:
        ours, theirs = made.attention, whole.attention
        heads = parallel.heads(theirs.num_qo_heads, what="query heads")
        meant["query heads"] = (heads, ours.num_qo_heads)
        meant["KV heads"] = (parallel.kv_heads(theirs.num_kv_heads), ours.num_kv_heads)
        meant["head_dim"] = (theirs.head_dim, ours.head_dim)
    if whole.mla and made.mla:
        meant["MLA heads"] = (whole.mla.num_heads // parallel.tp, made.mla.num_heads)
    if whole.gdn and made.gdn:
        meant["GDN value heads"] = (whole.gdn.num_v_heads // parallel.tp, made.gdn.num_v_heads)
    if whole.mamba and made.mamba:
        meant["Mamba heads"] = (whole.mamba.num_heads // parallel.tp, made.mamba.num_heads)
        meant["Mamba head_dim"] = (whole.mamba.head_dim, made.mamba.head_dim)
    if whole.moe and made.moe:
        meant["experts"] = (whole.moe.num_experts // parallel.ep, made.moe.num_experts)
    for what, (expected, found) in meant.items():
        if expected != found:
            raise ConfigError(
                f"the reduced config has other {what}", received=found, allowed=str(expected)
            )
