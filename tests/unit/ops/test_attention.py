"""The attention families: references against float64 loops, inputs, cost, and derivation."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import DENSE, LATENT, LINEAR  # noqa: E402

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.errors import UsageError  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.ops import family  # noqa: E402

KV_LENS = [0, 1, 64, 65, 17, 130]  # empty, one token, a full page, one more, partly full
Q_LENS = [0, 1, 3, 1, 17, 5]  # below, at and (never) above the cached length
PAGE_SIZES = [1, 16, 64]


def randn(*shape: int, scale: float = 1.0) -> torch.Tensor:
    """Normal bfloat16 values."""
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(5)) * scale).bfloat16()


def offsets(lens: list[int]) -> torch.Tensor:
    """int32 offsets of consecutive ranges."""
    return torch.tensor([0, *lens]).cumsum(0).to(torch.int32)


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize(("heads", "kv"), [(4, 4), (5, 1), (16, 2)])
@pytest.mark.parametrize("scale", [1.0, 60.0])  # 60: logits of thousands, exp overflows
def test_gqa_decode(heads: int, kv: int, page_size: int, scale: float) -> None:
    definition = family("gqa_paged").definition(heads, kv, 32, page_size, prefill=False)
    table = oracle.pages_of(KV_LENS, page_size, 300)
    q = randn(len(KV_LENS), heads, 32, scale=scale)
    k, v = randn(300, page_size, kv, 32), randn(300, page_size, kv, 32).flip(0)
    inputs = {"q": q, "k_cache": k, "v_cache": v, **table, "sm_scale": 32**-0.5}
    assert list(inputs) == list(definition.inputs)
    wants = [
        oracle.attention(
            q[b : b + 1], oracle.cached(k, table, b, n), oracle.cached(v, table, b, n),
            32**-0.5, causal=False,
        )
        for b, n in enumerate(KV_LENS)
    ]  # fmt: skip
    want = tuple(torch.cat(parts) for parts in zip(*wants, strict=True))
    got = oracle.execute(definition, inputs)
    oracle.assert_close(got, want)
    assert (got[1][0] == -torch.inf).all() and (got[0][0] == 0).all()


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize(("heads", "kv"), [(2, 2), (5, 1), (8, 1)])
def test_gqa_prefill(heads: int, kv: int, page_size: int) -> None:
    definition = family("gqa_paged").definition(heads, kv, 16, page_size, prefill=True)
    table = oracle.pages_of(KV_LENS, page_size, 300)
    q = randn(sum(Q_LENS), heads, 16)
    k, v = randn(300, page_size, kv, 16), randn(300, page_size, kv, 16).flip(0)
    starts = offsets(Q_LENS)
    inputs = {"q": q, "k_cache": k, "v_cache": v, "qo_indptr": starts, **table, "sm_scale": 0.25}
    assert list(inputs) == list(definition.inputs)
    wants = [
        oracle.attention(
            q[starts[b] : starts[b + 1]], oracle.cached(k, table, b, n),
            oracle.cached(v, table, b, n), 0.25, causal=True,
        )
        for b, n in enumerate(KV_LENS)
    ]  # fmt: skip
    want = tuple(torch.cat(parts) for parts in zip(*wants, strict=True))
    oracle.assert_close(oracle.execute(definition, inputs), want)


@pytest.mark.parametrize("op_type", ["gqa_ragged", "mla_ragged"])
def test_ragged_prefill_with_a_row_that_sees_nothing(op_type: str) -> None:
    """More queries than keys: the first rows of that request see no key."""
    if op_type == "gqa_ragged":
        definition, (heads, kv, dim, vo) = family(op_type).definition(10, 2, 16), (10, 2, 16, 16)
    else:
        definition, (heads, kv, dim, vo) = family(op_type).definition(3, 24, 16), (3, 3, 24, 16)
    q_lens, kv_lens = [4, 0, 3, 1], [9, 2, 1, 1]
    q, k, v = randn(8, heads, dim), randn(13, kv, dim), randn(13, kv, vo)
    qo, kvo = offsets(q_lens), offsets(kv_lens)
    inputs = {"q": q, "k": k, "v": v, "qo_indptr": qo, "kv_indptr": kvo, "sm_scale": dim**-0.5}
    wants = [
        oracle.attention(
            q[qo[b] : qo[b + 1]], k[kvo[b] : kvo[b + 1]], v[kvo[b] : kvo[b + 1]],
            dim**-0.5, causal=True,
        )
        for b in range(4)
    ]  # fmt: skip
    want = tuple(torch.cat(parts) for parts in zip(*wants, strict=True))
    got = oracle.execute(definition, inputs)
    oracle.assert_close(got, want)
    assert (got[1][4:6] == -torch.inf).all() and (got[0][4:6] == 0).all()


def test_ragged_agrees_with_torch_sdpa() -> None:
    definition = family("gqa_ragged").definition(8, 2, 32)
    q, k, v = randn(33, 8, 32), randn(33, 2, 32), randn(33, 2, 32)
    starts = offsets([33])
    inputs = {"q": q, "k": k, "v": v, "qo_indptr": starts, "kv_indptr": starts, "sm_scale": 0.2}
    want = torch.nn.functional.scaled_dot_product_attention(
        *(x.float().transpose(0, 1)[None] for x in (q, k, v)), is_causal=True, scale=0.2,
        enable_gqa=True,
    )[0].transpose(0, 1)  # fmt: skip
    got = oracle.execute(definition, inputs)[0]
    torch.testing.assert_close(got.float(), want, atol=4e-3, rtol=8e-3)


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("prefill", [False, True])
def test_mla_is_attention_over_the_joined_cache(page_size: int, prefill: bool) -> None:
    definition = family("mla_paged").definition(3, 32, 8, page_size, prefill=prefill)
    table = oracle.pages_of(KV_LENS, page_size, 300)
    q_lens = Q_LENS if prefill else [1] * len(KV_LENS)
    starts = offsets(q_lens)
    q_nope, q_pe = randn(sum(q_lens), 3, 32), randn(sum(q_lens), 3, 8)
    ckv, kpe = randn(300, page_size, 32), randn(300, page_size, 8)
    inputs = {"q_nope": q_nope, "q_pe": q_pe, "ckv_cache": ckv, "kpe_cache": kpe}
    inputs |= ({"qo_indptr": starts} if prefill else {}) | table | {"sm_scale": 192**-0.5}
    assert list(inputs) == list(definition.inputs)
    q, keys = torch.cat([q_nope, q_pe], -1), torch.cat([ckv, kpe], -1)[:, :, None]
    wants = []
    for b, n in enumerate(KV_LENS):
        k = oracle.cached(keys, table, b, n)
        rows = q[starts[b] : starts[b + 1]]
        wants.append(oracle.attention(rows, k, k[..., :32], 192**-0.5, causal=prefill))
    want = tuple(torch.cat(parts) for parts in zip(*wants, strict=True))
    oracle.assert_close(oracle.execute(definition, inputs), want)


@pytest.mark.parametrize("page_size", [1, 64])
def test_sparse_attention_reads_the_named_slots(page_size: int) -> None:
    definition = family("dsa_paged").sparse(3, 32, 8, 20, page_size)
    pages = 320 // page_size
    q_nope, q_pe = randn(5, 3, 32), randn(5, 3, 8)
    ckv, kpe = randn(pages, page_size, 32), randn(pages, page_size, 8)
    rng = torch.Generator().manual_seed(2)
    indices = torch.stack([torch.randperm(320, generator=rng)[:20] for _ in range(5)]).int()
    indices[0, 7:] = -1
    indices[1] = -1
    indices[2, ::2] = -1  # padding need not stand at the end
    inputs = {"q_nope": q_nope, "q_pe": q_pe, "ckv_cache": ckv, "kpe_cache": kpe,
              "sparse_indices": indices, "sm_scale": 192**-0.5}  # fmt: skip
    q, keys = torch.cat([q_nope, q_pe], -1), torch.cat([ckv, kpe], -1).flatten(0, 1)[:, None]
    wants = []
    for t in range(5):
        k = keys[indices[t][indices[t] >= 0].long()]
        wants.append(oracle.attention(q[t : t + 1], k, k[..., :32], 192**-0.5, causal=False))
    want = tuple(torch.cat(parts) for parts in zip(*wants, strict=True))
    oracle.assert_close(oracle.execute(definition, inputs), want)


def test_indexer_agrees_with_a_byte_by_byte_loop() -> None:
    op = family("dsa_paged")
    definition = op.indexer(4, 16, 70)
    axes = {"batch_size": 3, "num_pages": 9, "max_num_pages": 3}
    inputs = op.make_inputs(definition, axes, seed=1)
    inputs["seq_lens"] = torch.tensor([130, 71, 5], dtype=torch.int32)
    (got,) = oracle.execute(definition, inputs)
    raw = inputs["k_index_cache_fp8"].reshape(9, -1).view(torch.uint8)
    for b, length in enumerate([130, 71, 5]):
        scored = []
        for j in range(length):
            page, off = int(inputs["block_table"][b, j // 64]), j % 64
            key = raw[page, off * 16 : off * 16 + 16].view(torch.float8_e4m3fn).double()
            at = 64 * 16 + off * 4
            scale = raw[page, at : at + 4].clone().view(torch.float32).double()
            dots = (inputs["q_index_fp8"][b].double() @ (key * scale)).clamp(min=0)
            scored.append((float(dots @ inputs["weights"][b].double()), page * 64 + off))
        want = {slot for _, slot in sorted(scored, reverse=True)[:70]}
        mine = got[b][got[b] >= 0].tolist()
        assert len(mine) == len(set(mine)) == min(70, length)
        assert len(set(mine) & want) >= len(want) - 1  # float32 sums may swap the last two
        assert (got[b][min(70, length) :] == -1).all()


def test_indexer_takes_the_earlier_of_tied_tokens() -> None:
    op = family("dsa_paged")
    definition = op.indexer(2, 16, 64)
    inputs = op.make_inputs(definition, {"batch_size": 1, "num_pages": 3, "max_num_pages": 2}, 1)
    inputs["weights"] = torch.zeros(1, 2)
    inputs["seq_lens"] = torch.tensor([100], dtype=torch.int32)
    (got,) = oracle.execute(definition, inputs)
    first = int(inputs["block_table"][0, 0])
    assert got[0].tolist() == [first * 64 + j for j in range(64)]


def definitions() -> list[Definition]:
    """Every definition of the families for two models and two TP sizes."""
    found = {}
    for op_type in ("gqa_paged", "gqa_ragged", "mla_paged", "mla_ragged", "dsa_paged"):
        for spec in (DENSE, LATENT, LINEAR):
            for tp in (1, 8):
                for variant in family(op_type).derive(spec, Parallelism(tp=tp), (1, 64)):
                    found[variant.definition.name] = variant.definition
    return list(found.values())


@pytest.mark.parametrize("definition", definitions(), ids=lambda d: d.name)
def test_inputs_are_valid_and_repeatable(definition: Definition) -> None:
    op = family(definition.op_type)
    axes = op.small_axes(definition)
    one, two = (op.make_inputs(definition, axes, seed=4) for _ in range(2))
    other = op.make_inputs(definition, axes, seed=5)
    for name, spec in definition.inputs.items():
        if spec.shape is None:
            assert one[name] == two[name]
            continue
        assert tuple(one[name].shape) == definition.shape_of(name, axes)
        assert str(one[name].dtype) == f"torch.{spec.dtype.value}"
        assert torch.equal(one[name].view(torch.uint8), two[name].view(torch.uint8))
    assert any(not torch.equal(one[n], other[n]) for n in one if hasattr(one[n], "shape")
               and one[n].dtype == torch.bfloat16) or "fp8" in definition.name  # fmt: skip
    if "kv_indices" in one:
        assert one["kv_indptr"][0] == 0 and (one["kv_indptr"].diff() >= 0).all()
        assert one["kv_indptr"][-1] == axes["num_kv_indices"]
        assert len(set(one["kv_indices"].tolist())) == axes["num_kv_indices"]
        assert one["kv_indices"].max() < axes["num_pages"]
    if "qo_indptr" in one and "kv_last_page_len" in one:
        size = definition.const_axes["page_size"]
        kv = (one["kv_indptr"].diff() - 1) * size + one["kv_last_page_len"]
        assert (kv >= one["qo_indptr"].diff()).all()
        assert (one["kv_last_page_len"] <= size).all()
    outputs = oracle.execute(definition, one)
    for (name, spec), value in zip(definition.outputs.items(), outputs, strict=True):
        assert tuple(value.shape) == definition.shape_of(name, axes)
        assert str(value.dtype) == f"torch.{spec.dtype.value}"


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"batch_size": 2, "len_indptr": 4, "num_kv_indices": 4, "num_pages": 4}, "contradict"),
        ({"batch_size": 2, "len_indptr": 3, "num_kv_indices": 4, "num_pages": 0}, "without pages"),
        ({"batch_size": 2, "len_indptr": 3, "num_pages": 4}, "without a value"),
    ],
)
def test_impossible_axes_are_refused(axes: dict[str, int], message: str) -> None:
    op = family("gqa_paged")
    definition = op.definition(4, 2, 16, 64, prefill=False)
    with pytest.raises(UsageError, match=message):
        op.make_inputs(definition, axes, seed=0)


def test_decode_cost_by_hand() -> None:
    """One request of 3 tokens, 2 query heads, 1 KV head of 4 dims."""
    op = family("gqa_paged")
    definition = op.definition(2, 1, 4, 1, prefill=False)
    axes = {"batch_size": 1, "len_indptr": 2, "num_kv_indices": 3, "num_pages": 1000}
    cost = op.cost(definition, axes)
    q = out = 2 * 4 * 2
    assert cost.bytes_moved == q + out + 2 * 4 + 2 * 4 + 3 * 4 + 3 * (2 * 4 * 2)
    assert cost.flops == 3 * 2 * 4 * 4


def test_prefill_cost_counts_visible_pairs() -> None:
    """3 queries after 2 cached tokens see 3 + 4 + 5 keys."""
    op = family("gqa_ragged")
    definition = op.definition(2, 1, 4)
    inputs = {"qo_indptr": offsets([3]), "kv_indptr": offsets([5])}
    axes = {"len_indptr": 2, "total_q": 3, "total_kv": 5}
    assert op.cost(definition, axes, inputs).flops == 12 * 2 * 4 * 4
    assert op.cost(definition, axes).flops == 12 * 2 * 4 * 4


def test_kv_heads_are_replicated_and_index_heads_not_divided() -> None:
    names = [v.definition.name for v in family("gqa_paged").derive(LINEAR, Parallelism(tp=8), [1])]
    assert names[0] == "gqa_paged_decode_h2_kv1_d256_ps1"
    names = [v.definition.name for v in family("dsa_paged").derive(LATENT, Parallelism(tp=8), [64])]
    assert names == [
        "dsa_sparse_attention_h16_ckv512_kpe64_topk2048_ps64",
        "dsa_topk_indexer_fp8_h64_d128_topk2048_ps64",
    ]
