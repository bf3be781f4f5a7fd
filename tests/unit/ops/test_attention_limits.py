"""The attention references at their limits: chunks, extreme logits, rows that see nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.ops import base, family  # noqa: E402

GQA: Any = family("gqa_paged")
MLA: Any = family("mla_paged")
DSA: Any = family("dsa_paged")
Q_LENS, KV_LENS = [5, 0, 3, 1, 17], [2, 4, 0, 1, 40]  # the first and third see less than they ask


def reduced(definition: Definition, chunk: int) -> Definition:
    """The definition with its reference's chunk size set to `chunk`."""
    text, count = re.subn(
        r"^(CHUNK\w*) = .+$", rf"\1 = {chunk}", definition.reference, flags=re.MULTILINE
    )
    assert count == 1
    return definition.model_copy(update={"reference": text})


CHUNKED = [
    *(GQA.definition(4, 2, 16, size, prefill=p) for size in (1, 16) for p in (False, True)),
    *(MLA.definition(3, 32, 8, size, prefill=p) for size in (1, 16) for p in (False, True)),
    family("gqa_ragged").definition(4, 2, 16),
    family("mla_ragged").definition(3, 24, 16),
    DSA.sparse(3, 32, 8, 20, 64),
    DSA.indexer(4, 16, 70),
]


@pytest.mark.parametrize("chunk", [1, 300])
@pytest.mark.parametrize("definition", CHUNKED, ids=lambda d: d.name)
def test_chunks_change_nothing(definition: Definition, chunk: int) -> None:
    """Each request and query by itself (1), a few together (300), or all at once."""
    op = family(definition.op_type)
    many = {"num_kv_indices": 90, "num_pages": 99, "total_q": 40, "total_kv": 90, "num_tokens": 70}
    axes = {name: many.get(name, value) for name, value in op.small_axes(definition).items()}
    inputs = op.make_inputs(definition, axes, seed=3)
    whole = oracle.execute(definition, inputs)
    parts = oracle.execute(reduced(definition, chunk), inputs)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=4e-3, rtol=8e-3)


def test_logits_of_one_long_request_stay_within_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 queries of 4 heads on 90 keys are 32,400 logits; no product may be larger than 4,000."""
    definition = reduced(family("gqa_ragged").definition(4, 2, 16), 4000)
    inputs = family("gqa_ragged").make_inputs(
        definition, {"len_indptr": 2, "total_q": 90, "total_kv": 90}, seed=0
    )
    sizes, real = [], torch.matmul

    def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        result = real(a, b)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(torch, "matmul", matmul)
    oracle.execute(definition, inputs)
    assert 2 < len(sizes) and max(sizes) <= 4000


def prefill_case(definition: Definition, scale: float) -> tuple[dict[str, Any], oracle.Tensors]:
    """Inputs of Q_LENS and KV_LENS with queries of that scale, and the float64 result."""
    rng = torch.Generator().manual_seed(8)
    size = definition.const_axes["page_size"]
    axes = {"total_q": sum(Q_LENS), "num_pages": 60}
    values = {
        name: base.normal(definition, name, axes, rng, scale if name.startswith("q") else 1.0)
        for name in definition.inputs
        if name.startswith("q_") and name != "qo_indptr" or name == "q" or name.endswith("_cache")
    }
    table = oracle.pages_of(KV_LENS, size, 60)
    starts = torch.tensor([0, *Q_LENS]).cumsum(0).to(torch.int32)
    inputs = {**values, "qo_indptr": starts, **table, "sm_scale": 0.2}
    if "q" in values:
        q, k, v = values["q"], values["k_cache"], values["v_cache"]
    else:
        q = torch.cat([values["q_nope"], values["q_pe"]], -1)
        k = torch.cat([values["ckv_cache"], values["kpe_cache"]], -1)[:, :, None]
        v = k[..., : values["ckv_cache"].shape[2]]
    wants = [
        oracle.attention(
            q[starts[b] : starts[b + 1]], oracle.cached(k, table, b, n),
            oracle.cached(v, table, b, n), 0.2, causal=True,
        )
        for b, n in enumerate(KV_LENS)
    ]  # fmt: skip
    output, lse = (torch.cat(parts) for parts in zip(*wants, strict=True))
    return {name: inputs[name] for name in definition.inputs}, (output, lse)


@pytest.mark.parametrize("scale", [1.0, 200.0])  # 200: exp of the logits overflows
@pytest.mark.parametrize("page_size", [1, 16])
@pytest.mark.parametrize("op_type", ["gqa_paged", "mla_paged"])
def test_prefill_rows_without_keys_and_extreme_logits(
    op_type: str, page_size: int, scale: float
) -> None:
    op: Any = family(op_type)
    sizes = (10, 2, 16) if op_type == "gqa_paged" else (3, 32, 8)
    definition = op.definition(*sizes, page_size, prefill=True)
    inputs, want = prefill_case(definition, scale)
    if scale > 1:
        finite = want[1][want[1].isfinite()]
        assert finite.max() > 128 and finite.min() < -128  # beyond float32's exponents
    output, lse = oracle.execute(definition, inputs)
    oracle.assert_close((output, lse), want)
    for blind in (slice(0, 3), slice(5, 8)):  # three of the five on 2 keys, all on none
        assert (lse[blind] == -torch.inf).all() and (output[blind] == 0).all()
    assert lse[3:5].isfinite().all()


@pytest.mark.parametrize("prefill", [False, True])
def test_where_pages_lie_does_not_matter(prefill: bool) -> None:
    """Two pages swapped in the cache and in the table: the same bits. In the table only: not."""
    definition = GQA.definition(4, 2, 16, 16, prefill=prefill)
    axes = GQA.small_axes(definition)
    inputs = GQA.make_inputs(definition, axes, seed=6)
    first, second = int(inputs["kv_indices"][0]), int(inputs["kv_indices"][-1])
    order = torch.arange(axes["num_pages"])
    order[first], order[second] = second, first
    swapped = dict(inputs)
    swapped["kv_indices"] = order.to(torch.int32)[inputs["kv_indices"].long()]
    before = oracle.execute(definition, inputs)
    assert not torch.equal(oracle.execute(definition, swapped)[0], before[0])
    for name in ("k_cache", "v_cache"):
        swapped[name] = inputs[name][order]
    for old, new in zip(before, oracle.execute(definition, swapped), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("page_size", [1, 16])
@pytest.mark.parametrize("prefill", [False, True])
@pytest.mark.parametrize("op_type", ["gqa_paged", "mla_paged"])
def test_slots_of_no_request_do_not_count(op_type: str, prefill: bool, page_size: int) -> None:
    """Other pages, page 0 among them, and the rest of a last page may hold anything, also NaN."""
    op: Any = family(op_type)
    sizes = (4, 2, 16) if op_type == "gqa_paged" else (3, 32, 8)
    definition = op.definition(*sizes, page_size, prefill=prefill)
    inputs = op.make_inputs(definition, op.small_axes(definition), seed=2)
    count = len(inputs["kv_indices"])
    inputs["kv_indices"] = torch.arange(count, 0, -1, dtype=torch.int32)
    free = torch.ones(17 * page_size, dtype=torch.bool)
    used = page_size * inputs["kv_indices"].long()[:, None] + torch.arange(page_size)
    if page_size > 1:
        last = inputs["kv_indptr"][1:].long() - 1
        keep = torch.ones_like(used, dtype=torch.bool)
        keep[last] = torch.arange(page_size) < inputs["kv_last_page_len"][:, None]
        used = used[keep]
    free[used.flatten()] = False
    assert free[0] and free.sum() < len(free)
    before = oracle.execute(definition, inputs)
    for name in definition.inputs:
        if name.endswith("_cache"):
            inputs[name].flatten(0, 1)[free] = torch.nan
    for old, new in zip(before, oracle.execute(definition, inputs), strict=True):
        assert old.isfinite().all() and torch.equal(old, new)


def test_padding_of_sparse_indices_does_not_count() -> None:
    """-1 stands for no slot, not for slot 0."""
    definition = DSA.sparse(3, 32, 8, 20, 64)
    inputs = DSA.make_inputs(definition, DSA.small_axes(definition), seed=2)
    inputs["sparse_indices"] = inputs["sparse_indices"].masked_fill(
        inputs["sparse_indices"] == 0, 1
    )
    assert (inputs["sparse_indices"] < 0).any()
    before = oracle.execute(definition, inputs)
    inputs["ckv_cache"][0, 0] = inputs["kpe_cache"][0, 0] = torch.nan
    for old, new in zip(before, oracle.execute(definition, inputs), strict=True):
        assert old.isfinite().all() and torch.equal(old, new)


@pytest.mark.parametrize(("num_pages", "page_size"), [(200, 64), (3, 4)])
def test_sparse_indices_are_distinct_slots_then_padding(num_pages: int, page_size: int) -> None:
    """Also where the cache has fewer slots (12) than a token may name (20)."""
    definition = DSA.sparse(3, 32, 8, 20, page_size)
    axes = {"num_tokens": 50, "num_pages": num_pages}
    rows = DSA.make_inputs(definition, axes, seed=1)["sparse_indices"].tolist()
    for row in rows:
        named = [slot for slot in row if slot >= 0]
        assert row == named + [-1] * (20 - len(named))
        assert len(named) == len(set(named)) >= min(15, num_pages * page_size)
        assert max(named) < num_pages * page_size
    if num_pages == 200:
        every = [slot for row in rows for slot in row if slot >= 0]
        assert min(every) < 12_800 * 0.05 and max(every) > 12_800 * 0.95
        assert len({len([s for s in row if s >= 0]) for row in rows}) > 1
