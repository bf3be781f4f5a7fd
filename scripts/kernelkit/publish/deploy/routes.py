"""Which live FlashInfer call a definition stands for, as Trace Apply of FlashInfer 0.7.2 sees it.

Trace Apply knows a call by the name that its trace template gives it (a prefix and constant sizes),
and hands over the template's inputs only. What a template does not show (an epsilon, a mask, a
dtype) is the same to it in every call of that name: such things are `assumes` of a route, and where
the definition differs from the call's own default there is no route.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from kernelkit.dataset.definition import Definition


class Form(Enum):
    """How a live call's outputs differ from the definition's."""

    VALUE = "value"  # one tensor, as the definition has it
    RESIDUAL = "residual"  # in place: the norm, then the sum of the residual
    LSE = "lse"  # the log-sum-exp only where return_lse asks for it
    SAMPLES = "samples"  # int32, and filters may be numbers


@dataclass(frozen=True)
class Route:
    """The live name, the API (the tag's form), the form, and what the name does not show."""

    live: str
    api: str
    form: Form
    assumes: tuple[str, ...]


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    api: str
    form: Form
    name: Callable[[re.Match[str]], str]
    assumes: tuple[str, ...] = ()


_DTYPE = "other element types than the definition's are refused with an error"
_ATTENTION = (
    _DTYPE,
    "no window, soft cap, sink or custom mask; standard softmax scale if none is given",
)
_CAUSAL = (*_ATTENTION, "causal=True")
_MLA = "flashinfer.mla.BatchMLAPagedAttentionWrapper"
_PREFILL = "flashinfer.prefill.BatchPrefillWith{}KVCacheWrapper"


def _rule(
    pattern: str, api: str, form: Form, name: str | Callable[[re.Match[str]], str],
    *assumes: str,
) -> _Rule:  # fmt: skip
    made = name if callable(name) else (lambda match: match.expand(name))
    return _Rule(re.compile(pattern), api, form, made, assumes)


_RULES = (
    _rule(r"(rmsnorm_h\d+)(_eps\S+)?", "flashinfer.norm.rmsnorm", Form.VALUE, r"\1", _DTYPE),
    _rule(r"(gemma_rmsnorm_h\d+)(_eps\S+)?", "flashinfer.norm.gemma_rmsnorm", Form.VALUE, r"\1",
          _DTYPE),
    _rule(r"(fused_add_rmsnorm_h\d+)(_eps\S+)?", "flashinfer.norm.fused_add_rmsnorm",
          Form.RESIDUAL, r"\1", _DTYPE),
    _rule(r"(gqa_paged_decode_h\d+_kv\d+_d\d+_ps1)",
          "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper", Form.LSE, r"\1", *_ATTENTION),
    _rule(r"gqa_paged_prefill_causal_(h\d+_kv\d+_d\d+_ps1)", _PREFILL.format("Paged"), Form.LSE,
          r"gqa_paged_prefill_\1", *_CAUSAL),
    _rule(r"gqa_ragged_prefill_causal_(h\d+_kv\d+_d\d+)", _PREFILL.format("Ragged"), Form.LSE,
          r"gqa_ragged_\1", *_CAUSAL),
    _rule(r"mla_ragged_prefill_causal_h(\d+)_qk(\d+)_vo(\d+)", _PREFILL.format("Ragged"), Form.LSE,
          r"gqa_ragged_h\1_kv\1_d\2", *_CAUSAL, "the value dimension is the definition's"),
    _rule(r"(mla_paged_decode_h\d+_ckv\d+_kpe\d+_ps1)", _MLA,
          Form.LSE, r"\1", *_ATTENTION, "one query row a request: MLA prefill has the same name"),
    _rule(r"(top_\w+)_from_probs_(v\d+)",
          "flashinfer.sampling", Form.SAMPLES, r"\1_\2",
          "no indices; the solution's own generator, whatever generator or seed is given",
          "top_k_top_p filters by top_k first"),
)  # fmt: skip

# First match counts.
_REFUSALS = (
    (r"gemma_fused_add_rmsnorm_", "its trace template names no output to write to"),
    (r"(gqa|mla)_paged_.*_ps(?!1$)\d+", "its trace template shows no last page length"),
    (r"mla_paged_prefill_", "its trace template shows no qo_indptr, and decode has its name"),
    (r"rope_", "its trace template names no output to write to, and neither style nor rotary dim"),
    (
        r"gdn_",
        "live calls normalise q and k and update states in place; the template shows neither",
    ),
    (r"moe_|trtllm_", "live calls bring weights in layouts that the definition does not have"),
    (r"gemm_", "FlashInfer's 16-bit GEMM takes bfloat16 and another layout"),
    (r"dsa_|mamba_", "FlashInfer has no trace template with the definition's inputs"),
)


def route_of(definition: Definition) -> Route | str:
    """The definition's route, or why it has none."""
    name = definition.name
    for pattern, reason in _REFUSALS:
        if re.match(pattern, name):
            return reason
    for rule in _RULES:
        if match := rule.pattern.fullmatch(name):
            api = rule.api
            if rule.form is Form.SAMPLES:
                api = f"{api}.{match[1]}_from_probs"
            return Route(rule.name(match), api, rule.form, (*rule.assumes, *_constants(definition)))
    return "no live FlashInfer call is known for its name"


def _constants(definition: Definition) -> tuple[str, ...]:
    """What the reference fixes and no template shows."""
    from kernelkit.ops import OP_TYPES, family

    known = definition.op_type in OP_TYPES
    fixed = family(definition.op_type).semantics(definition) if known else {}
    return tuple(f"{name}={value}" for name, value in fixed.items() if value is not None)
