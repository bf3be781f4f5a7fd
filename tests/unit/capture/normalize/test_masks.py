"""Masks that the families do not have: names, and numbers against a plain double loop."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.capture.normalize.masks import Mask, masked  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.ops import family  # noqa: E402

MASKS = [
    Mask(causal=False), Mask(window_left=2), Mask(soft_cap=1.5), Mask(window_left=3, soft_cap=2.0),
    Mask(causal=False, window_left=1),
]  # fmt: skip
GQA, RAGGED, MLA = family("gqa_paged"), family("gqa_ragged"), family("mla_paged")
CASES = [
    (GQA.definition(4, 2, 64, 1, prefill=False), False),
    (GQA.definition(4, 2, 64, 16, prefill=False), False),
    (GQA.definition(4, 2, 64, 1, prefill=True), True),
    (GQA.definition(4, 2, 64, 16, prefill=True), True),
    (RAGGED.definition(4, 2, 64), True),
    (MLA.definition(4, 128, 64, 1, prefill=False), False),
    (MLA.definition(4, 128, 64, 16, prefill=True), True),
]


def tokens(definition: Definition, inputs: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """Queries, keys and values of each request, from the tables."""
    page = definition.const_axes.get("page_size", 1)
    kv, found = inputs["kv_indptr"].tolist(), []
    latent = "ckv_cache" in inputs
    for i in range(len(kv) - 1):
        if "kv_indices" in inputs:
            ids = inputs["kv_indices"][kv[i] : kv[i + 1]].long()
            slots = (ids[:, None] * page + torch.arange(page)).flatten()
            if page > 1 and len(ids):
                slots = slots[: len(slots) - page + int(inputs["kv_last_page_len"][i])]
        else:
            slots = torch.arange(kv[i], kv[i + 1])
        if latent:
            values = inputs["ckv_cache"].flatten(0, 1)[slots][:, None]
            keys = torch.cat([values, inputs["kpe_cache"].flatten(0, 1)[slots][:, None]], -1)
            q = torch.cat([inputs["q_nope"], inputs["q_pe"]], -1)
        else:
            names = ("k_cache", "v_cache") if "k_cache" in inputs else ("k", "v")
            keys, values = (
                (inputs[n].flatten(0, 1) if "cache" in n else inputs[n])[slots] for n in names
            )
            q = inputs["q"]
        ends = inputs["qo_indptr"].tolist() if "qo_indptr" in inputs else range(len(kv))
        found.append((q[ends[i] : ends[i + 1]].float(), keys.float(), values.float()))
    return found


def expected(definition: Definition, inputs: dict[str, Any], mask: Mask) -> tuple[Any, Any]:
    """One query and head after the other."""
    outputs, logs = [], []
    for q, k, v in tokens(definition, inputs):
        for i in range(len(q)):
            own = len(k) - len(q) + i  # where the query stands among the keys
            seen = [j for j in range(len(k))
                    if (not mask.causal or j <= own)
                    and (mask.window_left < 0 or j >= own - mask.window_left)]  # fmt: skip
            for head in range(q.shape[1]):
                keys, values = (x[seen, head * x.shape[1] // q.shape[1]] for x in (k, v))
                logits = keys @ q[i, head] * float(inputs["sm_scale"])
                if mask.soft_cap:
                    logits = mask.soft_cap * torch.tanh(logits / mask.soft_cap)
                empty = not seen
                outputs.append(torch.zeros(v.shape[-1]) if empty else logits.softmax(0) @ values)
                logs.append(-math.inf if empty else float(logits.logsumexp(0)) / math.log(2))
    return torch.stack(outputs), torch.tensor(logs)


@pytest.mark.parametrize("mask", MASKS, ids=repr)
@pytest.mark.parametrize(
    ("definition", "prefill"), CASES, ids=lambda case: getattr(case, "name", "")
)
def test_numbers(definition: Definition, prefill: bool, mask: Mask) -> None:
    if not mask.causal and not prefill:
        pytest.skip("one token a request sees all its keys")
    op = family(definition.op_type)
    changed = masked(definition, mask, prefill=prefill)
    inputs = op.make_inputs(definition, op.small_axes(definition), seed=1)
    scope: dict[str, Any] = {}
    exec(changed.reference, scope)
    out, lse = scope["run"](*inputs.values())
    want, logs = expected(definition, inputs, mask)
    torch.testing.assert_close(out.float().flatten(0, 1), want, atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(lse.flatten(), logs, atol=1e-3, rtol=1e-3)
    exec(definition.reference, scope)
    plain, _ = scope["run"](*inputs.values())
    assert not torch.allclose(plain.float(), out.float(), atol=1e-2)


def test_names_and_words() -> None:
    definition = GQA.definition(4, 2, 64, 1, prefill=True)
    assert masked(definition, Mask(), prefill=True) is definition
    full = masked(definition, Mask(causal=False, soft_cap=50.0), prefill=True)
    assert full.name == "gqa_paged_prefill_h4_kv2_d64_ps1_cap50"
    assert "causal," not in (full.description or "")
    window = masked(definition, Mask(window_left=4095), prefill=True)
    assert window.name == "gqa_paged_prefill_causal_h4_kv2_d64_ps1_w4095"


def test_a_reference_without_the_places_is_an_error() -> None:
    definition = GQA.definition(4, 2, 64, 1, prefill=True)
    other = definition.model_copy(update={"reference": "def run():\n    return 1\n"})
    with pytest.raises(ValueError, match="places"):
        masked(other, Mask(window_left=1), prefill=True)
