"""Attention dumps to the definitions of the attention families.

What a dump loses: the cache's rank and layout (the template takes axes by position), the mask, the
window and the soft cap, MLA's stage, and the value head dim of ragged MLA.
"""

from __future__ import annotations

from kernelkit.capture.normalize.masks import Mask, masked
from kernelkit.capture.normalize.raw import Refusal
from kernelkit.capture.normalize.reading import Reading
from kernelkit.dataset.definition import Definition
from kernelkit.ops.gqa_paged import FAMILY as GQA_PAGED
from kernelkit.ops.gqa_ragged import FAMILY as GQA_RAGGED
from kernelkit.ops.mla_paged import FAMILY as MLA_PAGED
from kernelkit.ops.mla_ragged import FAMILY as MLA_RAGGED

MLA_APIS = ("BatchMLAPagedAttentionWrapper",)


def gqa_paged(reading: Reading) -> Definition:
    """Decode and prefill over a paged cache."""
    dump = reading.dump
    prefill = "prefill" in dump.name
    heads, dim = dump.const("num_qo_heads"), dump.const("head_dim")
    kv_heads, page_size = cache(reading, heads)
    if heads % kv_heads:
        raise Refusal(
            "heads-do-not-divide", f"{heads} query heads cannot share {kv_heads} KV heads"
        )
    mask = mask_of(reading, default_causal=True if prefill else None)
    definition = GQA_PAGED.definition(heads, kv_heads, dim, page_size, prefill=prefill)
    return masked(definition, mask, prefill=prefill)


def cache(reading: Reading, heads: int) -> tuple[int, int]:
    """KV heads and page size of the cache that was passed.

    Recorded facts decide. Without them a 3-D cache [tokens, KV heads, head dim] is recognised:
    read as 4-D its head dim stands where KV heads should, and KV heads where the page size should.
    """
    dump, facts = reading.dump, reading.facts
    shown = dump.const("num_kv_heads"), dump.const("page_size")
    if facts.num_kv_heads and facts.page_size:
        found = facts.num_kv_heads, facts.page_size
    elif facts.kv_rank == 3 or (facts.kv_rank is None and _is_flat(reading, heads)):
        found = shown[1], 1
    elif facts.kv_layout == "HND":
        found = shown[1], shown[0]
    else:
        found = _plain_cache(reading, shown)
    if found != shown:
        reading.notes.append(
            f"kv{shown[0]}_ps{shown[1]} of the dump is kv{found[0]}_ps{found[1]}: the template "
            "takes the cache's axes by position"
        )
    return found


def _is_flat(reading: Reading, heads: int) -> bool:
    """Whether the dump can only be a 3-D cache. Raises Refusal where both readings are possible."""
    kv_heads, page_size = reading.dump.const("num_kv_heads"), reading.dump.const("page_size")
    dim = reading.dump.const("head_dim")
    if kv_heads != dim:
        return False
    flat, nested = heads % page_size == 0, heads % kv_heads == 0
    if flat and nested:
        raise Refusal(
            "cache-rank-unknown",
            f"kv{kv_heads}_ps{page_size} with head dim {dim} may be a 3-D cache of {page_size} KV "
            "heads or a 4-D one; the context record says which",
        )
    if not flat:
        raise Refusal(
            "heads-do-not-divide", f"neither {kv_heads} nor {page_size} KV heads fit {heads}"
        )
    return True


def _plain_cache(reading: Reading, shown: tuple[int, int]) -> tuple[int, int]:
    """A 4-D cache in FlashInfer's default layout; the model's config may contradict it."""
    spec = reading.spec
    if reading.facts.kv_layout is None:
        heads = spec.attention.num_kv_heads if spec and spec.attention else None
        if heads and heads % shown[0] and shown[1] != shown[0] and heads % shown[1] == 0:
            reading.notes.append(f"the model has {heads} KV heads: the cache's layout is HND")
            return shown[1], shown[0]
        if heads is None or heads % shown[0]:
            reading.assumed.append("cache layout NHD, FlashInfer's default")
    return shown


def ragged(reading: Reading) -> Definition:
    """Ragged prefill: grouped-query, or MLA before absorption where values are narrower."""
    dump = reading.dump
    heads, kv_heads = dump.const("num_qo_heads"), dump.const("num_kv_heads")
    dim = dump.const("head_dim")
    value_dim = _value_dim(reading, heads, kv_heads, dim)
    mask = mask_of(reading, default_causal=True)
    if value_dim != dim:
        if heads != kv_heads:
            raise Refusal(
                "no-family", f"values of {value_dim} dims, keys of {dim}, and grouped heads"
            )
        reading.notes.append(f"values have {value_dim} dims: ragged MLA, not grouped-query")
        return masked(MLA_RAGGED.definition(heads, dim, value_dim), mask, prefill=True)
    if heads % kv_heads:
        raise Refusal("heads-do-not-divide", f"{heads} query heads, {kv_heads} KV heads")
    return masked(GQA_RAGGED.definition(heads, kv_heads, dim), mask, prefill=True)


def _value_dim(reading: Reading, heads: int, kv_heads: int, dim: int) -> int:
    """From the record, the config, or an MLA dump of the same pass; else that of the keys.

    Raises Refusal for 192 dims, which MLA has, where nothing tells.
    """
    if reading.facts.v_head_dim:
        return reading.facts.v_head_dim
    mla = reading.spec.mla if reading.spec else None
    if mla and mla.qk_nope_head_dim + mla.qk_rope_head_dim == dim:
        return mla.v_head_dim
    for other in reading.siblings:
        rope = other.consts.get("head_dim_kpe")
        if other.function in MLA_APIS and rope and other.consts.get("num_qo_heads") == heads:
            reading.assumed.append(
                f"value head dim {dim - rope}: {other.name} of the same pass has {rope} rope dims"
            )
            return dim - rope
    if dim == 192 and heads == kv_heads:
        raise Refusal(
            "value-dim-unknown",
            "192 dims and as many KV heads as query heads may be MLA, whose values are narrower; "
            "the context record or the model's config says",
        )
    return dim


def mla_paged(reading: Reading) -> Definition:
    """MLA over a paged latent cache. One template serves decode and prefill."""
    dump = reading.dump
    sizes = [dump.const(axis) for axis in ("num_qo_heads", "head_dim_ckv", "head_dim_kpe")]
    stage = reading.facts.stage
    if stage is None and "prefill" in dump.name:
        stage = "prefill"
    stage = reading.known_or(stage, "decode", "stage decode: the dump has one name for both")
    prefill = stage == "prefill"
    page_size = reading.facts.page_size or dump.const("page_size")
    # A decode token sees its whole request, with a causal mask or without.
    mask = mask_of(reading, default_causal=True if prefill else None)
    return masked(MLA_PAGED.definition(*sizes, page_size, prefill=prefill), mask, prefill=prefill)


def mask_of(reading: Reading, *, default_causal: bool | None) -> Mask:
    """What a query sees. default_causal None: one token a request, for which it makes no odds.

    Raises Refusal for a custom mask: a definition has no input for it.
    """
    facts = reading.facts
    if facts.custom_mask:
        raise Refusal("custom-mask", "the call has a custom mask, which no definition takes")
    causal = True
    if default_causal is not None:
        causal = reading.known_or(facts.causal, default_causal, "causal mask")
    window = -1 if facts.window_left is None else facts.window_left
    return Mask(causal, window, facts.logits_soft_cap or 0.0)
