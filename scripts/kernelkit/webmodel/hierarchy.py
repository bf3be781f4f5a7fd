"""A model's modules, each with how often it is there: decoder layers by kind, and the rest.

Layers of one kind (mixer, window, chunk) are one group. Where several groups have a module of one
name, the group's suffix tells them apart: `o_proj` in a plain model, `norm_mamba` and `norm_mlp` in
a hybrid one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kernelkit.models.auxiliary import Auxiliary
from kernelkit.models.spec import Layer, ModelSpec
from kernelkit.webmodel import tree
from kernelkit.webmodel.layouts import Layout, Norm, layout_of, prefix, root_class
from kernelkit.webmodel.tree import Node, block

if TYPE_CHECKING:
    from kernelkit.sglang.implementation import Implementation

WORDS = {
    "gdn": "Gated DeltaNet", "mamba": "Mamba-2", "mla": "latent attention",
    "sliding_attention": "sliding-window attention", "chunked_attention": "chunked attention",
    "attention": "full attention", "attention+mamba": "parallel attention and Mamba-2",
    "dense": "MLP-only", "moe": "MoE-only", "none": "undecided",
}  # fmt: skip
_SUFFIXES = {"sliding_attention": "sliding", "chunked_attention": "chunked",
             "attention+mamba": "hybrid", "dense": "mlp"}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Decoder layers of one kind. kind: a key of WORDS; layers: by index."""

    kind: str
    suffix: str
    layers: tuple[tuple[int, Layer], ...]

    def count_of(self, mlp: str) -> int:
        """How many of the layers have this MLP."""
        return sum(layer.mlp == mlp for _, layer in self.layers)


@dataclass(frozen=True)
class Placed:
    """One module under its final name. `sublayer`: its name within the layer, as SGLang has it."""

    name: str
    sublayer: str
    type: str
    count: int
    parent: str | None
    wants: tuple[str, ...]
    note: str


def hierarchy(
    spec: ModelSpec, auxiliary: Auxiliary, implementation: Implementation | None = None
) -> list[Placed]:
    """Every module of the model, parents first. `implementation` names the classes of an
    architecture that layouts.LAYOUTS lacks."""
    layout = layout_of(spec, implementation)
    main = groups(spec, auxiliary)
    stack = [(group, _decoder_layer(spec, layout, group)) for group in main]
    model = layout.model or f"{prefix(spec)}Model"
    root = root_class(spec)
    how = ("plain",) if layout.final_how == "plain" else ("fused",)
    trunk = [
        Placed(root, root, "block", 1, None, (), ""),
        Placed(model, model, "block", 1, root, (), ""),
        Placed("embed_tokens", "embed_tokens", "layer", 1, model, (), tree.NO_FAMILY),
        Placed("layers", "layers", "block", spec.num_layers, model, (), ""),
    ]
    final = tree.norm(layout.final_norm, spec.hidden_size, *how, spec=spec)
    tail = [
        Placed(final.name, final.name, "layer", 1, model, final.wants, final.note),
        Placed("lm_head", "lm_head", "layer", 1, root, (), _head_note(spec)),
        Placed("sampler", "sampler", "layer", 1, root, ("sampling",), ""),
    ]
    taken = {placed.name for placed in (*trunk, *tail)}
    shared = Counter(name for _, node in stack for name in set(_names(node)))
    clashing = taken | {name for name, groups_with in shared.items() if groups_with > 1}
    layers = [
        placed
        for group, node in stack
        for placed in _flatten(node, len(group.layers), "layers", group.suffix, clashing)
    ]
    return [*trunk, *layers, *tail[:1], *_mtp(spec, layout, auxiliary, main, root), *tail[1:]]


def _head_note(spec: ModelSpec) -> str:
    tied = ", with the weights of embed_tokens" if spec.tie_word_embeddings else ""
    return f"{tree.NO_FAMILY}: logits{tied}"


def groups(spec: ModelSpec, auxiliary: Auxiliary) -> list[Group]:
    """The decoder layers by kind, in the order of their first layer."""
    found: dict[str, list[tuple[int, Layer]]] = {}
    for index, layer in enumerate(spec.layers):
        kind = layer.mixer if layer.mixer != "none" else layer.mlp
        if kind == "attention" and index in auxiliary.chunked:
            kind = "chunked_attention"
        found.setdefault(kind, []).append((index, layer))
    return [Group(kind, _suffix(kind, found), tuple(layers)) for kind, layers in found.items()]


def _suffix(kind: str, kinds: Collection[str]) -> str:
    if kind == "attention":
        if "gdn" in kinds:
            return "gqa"
        return "full" if {"sliding_attention", "chunked_attention"} & set(kinds) else "attn"
    return _SUFFIXES.get(kind, kind)


def _decoder_layer(spec: ModelSpec, layout: Layout, group: Group) -> Node:
    """One group's layer: norms, mixer, MLP, in the order of its forward."""
    key = "attention" if group.kind.endswith("attention") else group.kind
    name = layout.layers.get(key) or layout.layers.get("") or f"{prefix(spec)}DecoderLayer"
    mixers = list(_mixers(spec, layout, group))
    mlps = list(_mlps(spec, layout, group))
    parts = [
        *(_norms(spec, layout, group, "mixer") if mixers or not _splits(layout) else ()),
        *mixers,
        *_norms(spec, layout, group, "after_mixer"),
        *(_norms(spec, layout, group, "mlp") if mlps else ()),
        *mlps,
        *(_norms(spec, layout, group, "after_mlp") if mlps else ()),
    ]
    return block(name, *parts, count=len(group.layers))


def _splits(layout: Layout) -> bool:
    """Whether the layer has norms of its own for mixer and MLP."""
    return any(norm.place == "mlp" for norm in layout.norms)


def _norms(spec: ModelSpec, layout: Layout, group: Group, place: str) -> Iterator[Node]:
    for norm in layout.norms:
        if norm.place == place:
            yield tree.norm(norm.name, spec.hidden_size, *_kinds(norm, group), spec=spec)


def _kinds(norm: Norm, group: Group) -> tuple[str, ...]:
    """The first layer of the model has no residual yet: its norm is plain."""
    if norm.how != "first":
        return (norm.how,)
    indices = [index for index, _ in group.layers]
    plain = ("plain",) if 0 in indices else ()
    return (*plain, "fused") if indices != [0] else plain


def _mixers(spec: ModelSpec, layout: Layout, group: Group) -> Iterator[Node]:
    kinds = group.layers[0][1].mixer.split("+")
    if "attention" in kinds or "sliding_attention" in kinds:
        # Llama-4: the layers that see everything have no rope.
        rope = group.kind != "attention" or group.suffix != "full" or not _has_chunks(spec)
        yield tree.attention(spec, layout.mixer or "self_attn", group.kind, rope=rope)
    if "mla" in kinds:
        yield tree.mla(spec, layout.mixer or "self_attn")
    if "gdn" in kinds:
        yield tree.gdn(spec, layout.mixer or "linear_attn")
    if "mamba" in kinds:
        yield tree.mamba(spec, layout.mixer or "mamba")


def _has_chunks(spec: ModelSpec) -> bool:
    return spec.attention is not None and spec.attention.chunk_size is not None


def _mlps(spec: ModelSpec, layout: Layout, group: Group) -> Iterator[Node]:
    """The MLP of each layer; `mlp` holds both where some layers are dense and some have experts."""
    few, many = group.count_of("dense"), group.count_of("moe")
    if few and many:
        yield block(
            layout.mlp,
            tree.dense(spec, f"{layout.mlp}_dense", count=few),
            tree.moe(spec, "moe", count=many),
            count=few + many,
        )
    elif few:
        yield tree.dense(spec, layout.mlp, count=few)
    elif many:
        yield block(layout.mlp, tree.moe(spec, "moe", count=many), count=many)


def _mtp(
    spec: ModelSpec, layout: Layout, auxiliary: Auxiliary, main: list[Group], root: str
) -> list[Placed]:
    """The draft layers: two norms, a projection, a decoder layer like the model's last one with
    attention, and the norm before the shared head."""
    if not auxiliary.mtp_layers:
        return []
    count = auxiliary.mtp_layers
    kinds = ("mla", "attention", "sliding_attention")
    last = max((g for g in main if g.kind in kinds), key=lambda g: g.layers[-1][0], default=main[0])
    # Of the model's last kind; never its first layer.
    group = Group(last.kind, "mtp", (last.layers[-1],) * count)
    size = spec.hidden_size
    projection = Node(layout.mtp_projection, note="runs with speculative decoding only")
    node = block(
        layout.mtp or f"{root}NextN",
        *(tree.norm(name, size, "plain", spec=spec) for name in layout.mtp_norms),
        projection,
        _decoder_layer(spec, layout, group),
        tree.norm("shared_head_norm", size, "fused", spec=spec),
        count=count,
    )
    clashing = set(_names(node)) - {node.name}
    return list(_flatten(node, count, root, "mtp", clashing))


def _names(node: Node) -> Iterator[str]:
    yield node.name
    for child in node.children:
        yield from _names(child)


def _flatten(
    node: Node, count: int, parent: str, suffix: str, clashing: set[str]
) -> Iterator[Placed]:
    count = node.count if node.count is not None else count
    name = f"{node.name}_{suffix}" if node.name in clashing else node.name
    yield Placed(name, node.name, node.type, count, parent, node.wants, node.note)
    for child in node.children:
        yield from _flatten(child, count, name, suffix, clashing)
