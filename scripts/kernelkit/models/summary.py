"""A ModelSpec as a short text table: what the model is, and the field that says so."""

from __future__ import annotations

from collections.abc import Iterator

from kernelkit.models.spec import ModelSpec

Row = tuple[str, str, str]  # what, value, source


def summary(spec: ModelSpec, title: str) -> str:
    """The table, one line per fact, then the op families that the config leaves open."""
    rows = list(_rows(spec))
    first = max(len(what) for what, _, _ in rows)
    second = max(len(value) for _, value, _ in rows)
    lines = [f"{title}: {spec.architecture}", ""]
    lines += [f"  {a:<{first}}  {b:<{second}}  {c}".rstrip() for a, b, c in rows]
    for family in spec.undecided:
        lines.append(f"  undecided: {family} ({spec.sources[f'undecided.{family}']})")
    return "\n".join(lines)


def _rows(spec: ModelSpec) -> Iterator[Row]:
    yield "layers", str(spec.num_layers), spec.sources["num_layers"]
    pattern = spec.sources.get("layers", "")  # of all kinds: said once, at the first
    for kind, count in spec.counts().items():
        yield f"  {kind}", str(count), pattern
        pattern = ""
    yield _row(spec, "hidden size", spec.hidden_size, "hidden_size")
    if spec.intermediate_size is not None:
        gate = "gated " if spec.mlp_gated else ""
        value = f"{spec.intermediate_size} ({gate}{spec.activation})"
        yield _row(spec, "dense MLP", value, "intermediate_size")
    yield _row(spec, "vocabulary", spec.vocab_size, "vocab_size")
    eps = f"{spec.norm_kind}, eps {spec.norm_eps:g}"
    yield "norm", eps, spec.sources.get("norm_eps", "")
    yield from _attention(spec)
    yield from _latent(spec)
    yield from _linear(spec)
    yield from _experts(spec)
    quantization = spec.quantization
    if quantization is not None:
        what = [n for n in ("linear", "experts") if getattr(quantization, n)]
        value = f"{quantization.kind} ({', '.join(what) or 'parts'})"
        yield _row(spec, "quantization", value, "quantization.kind")
    yield _row(spec, "dtype", spec.dtype, "dtype")


def _row(spec: ModelSpec, what: str, value: object, target: str) -> Row:
    return what, str(value), spec.sources.get(target, "")


def _attention(spec: ModelSpec) -> Iterator[Row]:
    heads = spec.attention
    if heads is not None:
        yield _row(spec, "query heads", heads.num_qo_heads, "attention.num_qo_heads")
        yield _row(spec, "KV heads", heads.num_kv_heads, "attention.num_kv_heads")
        yield _row(spec, "head dim", heads.head_dim, "attention.head_dim")
        yield _row(spec, "q.k scale", f"{heads.sm_scale:.6g}", "attention.sm_scale")
        if heads.qk_norm:
            yield _row(spec, "q/k norm", heads.qk_norm, "attention.qk_norm")
        if heads.output_gate:
            yield _row(spec, "output gate", "yes", "attention.output_gate")
        if heads.sliding_window:
            yield _row(spec, "window", heads.sliding_window, "attention.sliding_window")
    if spec.rope is not None:
        style = "halves" if spec.rope.is_neox else "pairs"
        value = f"{spec.rope.kind}, {spec.rope.rotary_dim} of {spec.rope.head_dim}, {style}"
        yield _row(spec, "rope", value, "rope.kind")
        yield _row(spec, "rope theta", f"{spec.rope.theta:g}", "rope.theta")


def _latent(spec: ModelSpec) -> Iterator[Row]:
    if spec.mla is not None:
        mla = spec.mla
        yield _row(spec, "MLA heads", mla.num_heads, "mla.num_heads")
        ranks = f"q {mla.q_lora_rank or 'full'}, kv {mla.kv_lora_rank}"
        yield _row(spec, "MLA ranks", ranks, "mla.kv_lora_rank")
        dims = f"nope {mla.qk_nope_head_dim}, rope {mla.qk_rope_head_dim}, v {mla.v_head_dim}"
        yield _row(spec, "MLA head dims", dims, "mla.qk_nope_head_dim")
        yield _row(spec, "q.k scale", f"{mla.sm_scale:.6g}", "mla.sm_scale")
    if spec.dsa is not None:
        dsa = spec.dsa
        value = f"{dsa.index_n_heads} heads of {dsa.index_head_dim}, top {dsa.index_topk}"
        yield _row(spec, "DSA indexer", value, "dsa.index_topk")


def _linear(spec: ModelSpec) -> Iterator[Row]:
    if spec.gdn is not None:
        gdn = spec.gdn
        value = f"{gdn.num_k_heads} k of {gdn.head_k_dim}, {gdn.num_v_heads} v of {gdn.head_v_dim}"
        yield _row(spec, "GDN heads", value, "gdn.num_v_heads")
    if spec.mamba is not None:
        mamba = spec.mamba
        value = f"{mamba.num_heads} of {mamba.head_dim}, {mamba.n_groups} groups"
        yield _row(spec, "Mamba heads", value, "mamba.num_heads")
        yield _row(spec, "Mamba state", mamba.state_size, "mamba.state_size")


def _experts(spec: ModelSpec) -> Iterator[Row]:
    moe = spec.moe
    if moe is None:
        return
    value = f"{moe.num_experts}, {moe.top_k} per token"
    yield _row(spec, "experts", value, "moe.num_experts")
    yield _row(spec, "expert size", moe.intermediate_size, "moe.intermediate_size")
    yield _row(spec, "routing", moe.routing or "undecided", "moe.routing")
    if moe.routing == "ds":
        groups = f"{moe.topk_group} of {moe.n_group}, scaled {moe.routed_scaling_factor:g}"
        yield _row(spec, "expert groups", groups, "moe.n_group")
    if moe.shared_intermediate_size is not None:
        value = str(moe.shared_intermediate_size)
        yield _row(spec, "shared experts", value, "moe.shared_intermediate_size")
