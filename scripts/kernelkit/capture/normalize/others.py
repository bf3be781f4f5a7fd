"""Dumps of the other families: norms, sampling, GEMM, GDN, rope, Mamba."""

from __future__ import annotations

from kernelkit.capture.normalize.raw import OtherInterface, Refusal
from kernelkit.capture.normalize.reading import Reading
from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Variant
from kernelkit.ops.gdn import FAMILY as GDN
from kernelkit.ops.gemm import FAMILY as GEMM
from kernelkit.ops.mamba_ssu import FAMILY as MAMBA
from kernelkit.ops.mamba_ssu import SUFFIXES
from kernelkit.ops.rmsnorm import FAMILY as RMSNORM
from kernelkit.ops.rmsnorm import read_eps
from kernelkit.ops.rope import FAMILY as ROPE
from kernelkit.ops.sampling import FAMILY as SAMPLING

SMALLEST_NORM = 64  # elements; below it the dump has read a head count
STAGES = {"gated_delta_rule_decode_pretranspose": "decode", "gated_delta_rule_mtp": "mtp",
          "chunk_gated_delta_rule": "prefill"}  # fmt: skip


def rmsnorm(reading: Reading) -> Variant:
    """The norms. eps is the call's, else the model's, else the one in the template's reference."""
    dump = reading.dump
    shape = reading.shape("input", "hidden_states", "x")
    size = shape[-1] if shape else dump.const("hidden_size")
    if size != dump.const("hidden_size"):
        reading.notes.append(
            f"the input has {len(shape or [])} dims: it normalises {size} elements, not "
            f"{dump.const('hidden_size')}"
        )
    if size < SMALLEST_NORM:
        raise Refusal(
            "axis-implausible",
            f"a norm over {size} elements: a 3-D input [tokens, heads, dim] was read as 2-D; the "
            "context record tells its shape",
        )
    eps = reading.facts.eps or (reading.spec.norm_eps if reading.spec else None)
    template = read_eps(str(dump.document.get("reference") or "0")) or 1e-6
    eps = reading.known_or(eps, template, f"eps {template:g}, which the template has for all calls")
    gemma = dump.function.startswith("gemma_")
    return RMSNORM.variant(size, eps, fused="fused_add" in dump.function, gemma=gemma)


def sampling(reading: Reading) -> Definition:
    """The three filters over a vocabulary."""
    kind = reading.dump.function.removesuffix("_sampling_from_probs")
    return SAMPLING.definition(kind, reading.dump.const("vocab_size"))


def gemm(reading: Reading) -> Definition:
    """A 16-bit GEMM; the dataset's are float16 and have B as [N, K]."""
    dump = reading.dump
    reading.notes.append("the dataset's GEMMs are float16 with B as [N, K]")
    return GEMM.definition(dump.const("N"), dump.const("K"))


def gdn(reading: Reading) -> Definition:
    """The gated delta net, states stored k last."""
    dump = reading.dump
    if dump.function not in STAGES or reading.facts.state_layout == "k_major":
        raise Refusal(
            "state-layout",
            "the states are stored [K, V]; the family's, as SGLang's, are [V, K] (k last)",
        )
    keys, values = dump.const("num_q_heads"), dump.const("num_v_heads")
    if dump.consts.get("num_k_heads", keys) != keys:
        raise Refusal("no-family", "query and key heads differ in number")
    if reading.facts.use_qk_l2norm:
        reading.notes.append("the call normalises q and k itself; the definition takes them so")
    stage = STAGES[dump.function]
    if stage == "prefill":
        reading.notes.append("a and b are the raw gates here; the API takes the computed ones")
    return GDN.definition(keys, values, dump.const("head_size"), stage=stage)


def rope(reading: Reading) -> Definition:
    """Rotary embedding from a cache. Heads are variable axes; the style is not in the dump."""
    dump = reading.dump
    is_neox = reading.facts.is_neox
    if is_neox is None and reading.spec and reading.spec.rope:
        is_neox = reading.spec.rope.is_neox
    neox = reading.known_or(is_neox, True, "neox style, the API's default")
    cache = reading.shape("cos_sin_cache")
    rotary = cache[-1] if cache else dump.const("rotary_dim")
    return ROPE.definition(dump.const("head_size"), rotary, neox=neox)


def mamba(reading: Reading) -> Variant:
    """Selective state update; the template reads a 4-D state as one of two dims."""
    state, group = reading.shape("state"), reading.shape("B")
    dims = reading.dump.consts
    mamba = reading.spec.mamba if reading.spec else None
    if state and len(state) == 3:
        raise OtherInterface("a state [batch, dim, dstate] without heads")
    if state and len(state) == 4:
        heads, dim, size = state[1:]
        groups = group[1] if group and len(group) == 3 else 1
        dtype = reading.dtype("state") or "bfloat16"
    elif mamba and dims.get("dim") and mamba.num_heads % dims["dim"] == 0:
        # dim and dstate of the dump are the state's second and third axis: heads and head dim.
        heads, dim, size = dims["dim"], mamba.head_dim, mamba.state_size
        groups = max(1, mamba.n_groups * heads // mamba.num_heads)
        dtype = reading.dtype("state") or mamba.state_dtype
        if dims.get("dstate") != dim:
            raise Refusal(
                "axis-implausible", f"head dim {dims.get('dstate')}, the model's is {dim}"
            )
    else:
        raise Refusal(
            "state-rank-unknown",
            "the template reads a state [slots, heads, dim, dstate] as [slots, dim, dstate]; the "
            "context record or the model's config tells its axes",
        )
    definition = MAMBA.definition(heads, dim, size, groups, state_dtype=dtype)
    return Variant(definition, f"{definition.name}_{SUFFIXES[dtype]}")
