"""How much memory an engine may take: its pool of KV slots, its pool of recurrent states, retries.

SGLang 0.5.14 and 0.5.23 give Mamba and linear attention a pool of states of its own (`handle_
max_mamba_cache` in model_runner_kv_cache_mixin.py and kv_cache_configurator.py). Its size is
`max_mamba_cache_size`; unset, it is `max_running_requests` where the radix cache is off and that is
set, and otherwise nearly half of the free memory: with dummy weights, most of the GPU. SGLang then
serves at most `size // slots per request` requests at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kernelkit.capture.sglang_pass.planning import PassPlan
    from kernelkit.models.spec import ModelSpec

MAX_TOTAL_TOKENS = 2048  # a small pool: dumps of it stay small, and it fits beside other passes
RETRY_REQUESTS = 4
STATES = "max_mamba_cache_size"

# Slots that one request may hold: its state alone, or with the radix cache three, and up to two
# more where states are tracked in a buffer beside (`_calculate_mamba_ratio`).
_SLOTS = 1
_SLOTS_RADIX = 5


def bounded(spec: ModelSpec, engine: Mapping[str, Any], requests: int) -> dict[str, Any]:
    """Engine arguments with a bound for both pools; what `engine` has already stays.

    `requests` is the most that a pass sends at once.
    """
    states = {STATES: requests * _slots(engine)} if spec.mamba or spec.gdn else {}
    return {"max_total_tokens": MAX_TOTAL_TOKENS, **states, **engine}


def serving(
    plan: PassPlan, *, tokens: int, requests: int, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The plan's engine with `changes`, and with pools for so many tokens and requests at once.

    A size of the state pool that a person gave (it is in the variant's arguments) stays.
    """
    pools = {"max_total_tokens": tokens, "max_running_requests": requests}
    engine = {**plan.engine, **(changes or {}), **pools}
    if STATES in plan.engine and STATES not in plan.variant.engine:
        engine[STATES] = requests * _slots(engine)
    return engine


def smaller(plan: PassPlan, attempt: int) -> PassPlan:
    """The same pass with less memory: fewer slots, smaller chunks, fewer requests at once."""
    tokens = max(256, int(plan.engine["max_total_tokens"]) >> attempt)
    return _retry(plan, tokens, min(512, tokens), round(0.6 * 0.7 ** (attempt - 1), 2))


def roomier(plan: PassPlan) -> PassPlan:
    """The same pass with the largest share for the pool: SGLang found none left for it."""
    return _retry(plan, 512, 256, 0.95)


def _retry(plan: PassPlan, tokens: int, chunk: int, share: float) -> PassPlan:
    engine = {
        **serving(plan, tokens=tokens, requests=RETRY_REQUESTS),
        "chunked_prefill_size": chunk,
        "mem_fraction_static": share,
    }
    return replace(plan, engine=engine)


def _slots(engine: Mapping[str, Any]) -> int:
    return _SLOTS if engine.get("disable_radix_cache") else _SLOTS_RADIX
