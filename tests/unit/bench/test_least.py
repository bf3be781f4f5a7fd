"""The least work of a call and the figures made of it, where a little more would be too much."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.limits import cost, least  # noqa: E402
from kernelkit.bench.limits.ceilings import Ceilings, Figure  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.ops import (  # noqa: E402
    base,
    dsa_paged,
    family,
    gdn,
    gqa_paged,
    gqa_ragged,
    mamba_ssu,
    moe,
    rmsnorm,
    rope,
    sampling,
)

EMPTY = [  # definitions, with axes that have nothing of what is indexed
    (gqa_ragged.FAMILY.definition(4, 2, 16), {"len_indptr": 3, "total_q": 0, "total_kv": 0}),
    (
        gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False),
        {"batch_size": 1, "len_indptr": 2, "num_kv_indices": 0, "num_pages": 0},
    ),
]


def _least(definition: Definition, axes: dict[str, int], inputs: Any = None) -> least.Least:
    return least.least(definition, axes, inputs)


def _small(definition: Definition) -> dict[str, int]:
    return family(definition.op_type).small_axes(definition)


def test_nothing_is_known_of_another_op() -> None:
    assert least.Least() == least.Least(0.0, 0.0, 0.0)
    norm = rmsnorm.FAMILY.definition(64, 1e-5)
    other = norm.model_copy(update={"op_type": "softmax"})
    assert _least(other, {"batch_size": 3}) == least.Least()


@pytest.mark.parametrize(
    ("definition", "read"),
    [
        (rmsnorm.FAMILY.definition(64, 1e-5), (7 + 1) * 64 * 2),
        (sampling.FAMILY.definition("top_k", 100), 0.0),
    ],
)
def test_no_flops_but_of_matrix_products(definition: Definition, read: float) -> None:
    found = _least(definition, {**_small(definition), "batch_size": 7})
    assert (found.read, found.flops) == (read, 0.0)


def test_a_rotation_reads_its_rows_and_no_cache() -> None:
    definition = rope.FAMILY.definition(16, 8)
    axes = _small(definition)
    rows = sum(base.tensor_bytes(definition, name, axes) for name in ("q", "k"))
    assert (_least(definition, axes).read, _least(definition, axes).flops) == (rows, 0.0)


@pytest.mark.parametrize(
    "definition",
    [
        gqa_ragged.FAMILY.definition(4, 2, 16),
        gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False),
        dsa_paged.FAMILY.indexer(4, 16, 100),
        dsa_paged.FAMILY.sparse(4, 32, 16, 4, 4),
        gdn.FAMILY.definition(2, 4, 16, stage="decode"),
        mamba_ssu.FAMILY.definition(4, 16, 16, 2),
        moe.FAMILY.definition(
            "fp8_block", "renorm", num_experts=4, top_k=2, hidden_size=128, intermediate_size=128
        ),
    ],
    ids=lambda d: d.name,
)
def test_without_inputs_what_they_index_counts_nothing(definition: Definition) -> None:
    found = _least(definition, _small(definition))
    assert (found.read, found.flops) == (0.0, 0.0) and found.written > 0.0


def test_a_call_without_tokens_has_nothing_to_do() -> None:
    nothing = torch.zeros(3, dtype=torch.int32)
    inputs = {"qo_indptr": nothing, "kv_indptr": nothing}
    assert _least(*EMPTY[0], inputs).read == 0.0
    pages = {"kv_indptr": nothing[:2], "kv_indices": nothing[:0]}
    assert _least(*EMPTY[1], pages).read == 0.0


def test_a_single_token_of_a_single_page() -> None:
    """Pools of one: nothing is divided by more than there is."""
    ragged, paged = EMPTY[0][0], EMPTY[1][0]
    one = torch.tensor([0, 1], dtype=torch.int32)
    axes = {"len_indptr": 2, "total_q": 1, "total_kv": 1}
    assert _least(ragged, axes, {"qo_indptr": one, "kv_indptr": one}).read == 2 * 2 * 16 * 2
    axes = {"batch_size": 1, "len_indptr": 2, "num_kv_indices": 1, "num_pages": 1}
    assert _least(paged, axes, {"kv_indptr": one, "kv_indices": one[:1]}).read == 2 * 2 * 16 * 2
    sparse = dsa_paged.FAMILY.sparse(4, 32, 16, 1, 4)
    slots = {"sparse_indices": torch.tensor([[0, -1, -1, -1]])}
    assert _least(sparse, {"num_tokens": 1, "num_pages": 1}, slots).read == (32 + 16) * 2
    states = mamba_ssu.FAMILY.definition(4, 16, 16, 2)
    axes = {"batch_size": 1, "state_cache_size": 1}
    batch = {"state_batch_indices": torch.tensor([0], dtype=torch.int32)}
    assert _least(states, axes, batch).read == base.tensor_bytes(states, "state", axes)


def test_indices_that_do_not_start_at_zero() -> None:
    """A table that is a part of a longer one; the last page of each request is not full."""
    definition = gqa_paged.FAMILY.definition(4, 2, 16, 8, prefill=False)
    axes = {"batch_size": 2, "len_indptr": 3, "num_kv_indices": 6, "num_pages": 9}
    inputs = {
        "kv_indptr": torch.tensor([2, 4, 6], dtype=torch.int32),
        "kv_indices": torch.tensor([8, 7, 0, 1, 2, 3], dtype=torch.int32),
        "kv_last_page_len": torch.tensor([3, 5], dtype=torch.int32),
    }
    assert _least(definition, axes, inputs).read == (8 + 3 + 8 + 5) * 2 * 2 * 16 * 2


def test_a_request_with_one_query_needs_its_keys() -> None:
    definition = EMPTY[0][0]
    axes = {"len_indptr": 3, "total_q": 1, "total_kv": 40}
    inputs = {"qo_indptr": torch.tensor([0, 0, 1]), "kv_indptr": torch.tensor([0, 30, 40])}
    assert _least(definition, axes, inputs).read == 10 * 2 * 2 * 16 * 2


def test_the_indexer_reads_each_token_of_its_pages_once() -> None:
    """101 tokens: a page of 64 and 37 of the next; one with a choice of one; no FLOPs."""
    definition = dsa_paged.FAMILY.indexer(4, 16, 100)
    table = torch.tensor([[4, 5, 6], [5, 0, 1]], dtype=torch.int32)
    axes = {"batch_size": 2, "max_num_pages": 3, "num_pages": 9}
    for lengths, tokens in (([101, 100], 101), ([101, 129], 64 + 64 + 64 + 1), ([65, 64], 0)):
        inputs = {"block_table": table, "seq_lens": torch.tensor(lengths)}
        found = _least(definition, axes, inputs)
        assert (found.read, found.flops) == (tokens * (16 + 4), 0.0)
    one = {"block_table": table[:1, :1], "seq_lens": torch.tensor([1])}
    free = dsa_paged.FAMILY.indexer(4, 16, 0)
    assert _least(free, {"batch_size": 1, "max_num_pages": 1, "num_pages": 1}, {
        **one, "block_table": one["block_table"] * 0}).read == 16 + 4  # fmt: skip


@pytest.mark.parametrize("stage", ["decode", "mtp", "prefill"])
def test_states_of_the_delta_net(stage: str) -> None:
    definition = gdn.FAMILY.definition(2, 4, 16, stage=stage)
    axes = _small(definition)
    inputs = family("gdn").make_inputs(definition, axes, 7)
    names = ("q", "k", "v") if stage == "prefill" else ()
    rows = float(sum(base.tensor_bytes(definition, name, axes) for name in names))
    assert _least(definition, axes).read == rows
    found = _least(definition, axes, inputs)
    if stage == "mtp":
        inputs["initial_state_indices"] = torch.zeros_like(inputs["initial_state_indices"])
        found = _least(definition, axes, inputs)
        held = base.tensor_bytes(definition, "initial_state", axes) / axes["pool_size"]
    else:
        held = base.tensor_bytes(definition, "state", axes)
        assert _least(definition, axes, {**inputs, "state": None}).read == rows
    assert (found.read, found.flops) == (pytest.approx(rows + held), 0.0)


def test_the_states_of_padded_requests_have_no_flops() -> None:
    definition = mamba_ssu.FAMILY.definition(4, 16, 16, 2)
    batch = {"state_batch_indices": torch.tensor([5, 5, -1], dtype=torch.int32)}
    found = _least(definition, {"batch_size": 3, "state_cache_size": 8}, batch)
    assert (found.read, found.flops) == (4 * 16 * 16 * 2, 0.0)


def _ceilings(device: str = "cuda", **facts: Any) -> Ceilings:
    rates = {"copy": (1000.0, "GB/s"), "bf16": (100.0, "TFLOP/s")}
    figures = {n: Figure(value, unit, "by hand", 9, 0.0) for n, (value, unit) in rates.items()}
    return Ceilings(device, "m", "1", "2", facts, figures, {}, "")


def test_a_call_without_work_has_no_limit() -> None:
    work = cost.Work(0.0, 0.0, "bfloat16")
    assert (work.least_read, work.least_written, work.least_flops) == (0.0, 0.0, 0.0)
    assert "limit" not in work.speed_of_light(1.0, _ceilings())
    assert work.floor_ms(_ceilings(l2_bytes=1)) == 0.0


def test_memory_binds_where_both_take_as_long() -> None:
    facts = cost.Work(1e9, 100e9, "bfloat16").speed_of_light(4.0, _ceilings())
    assert (facts["limit"], facts["limit_ms"], facts["percent"]) == ("memory", 1.0, 25.0)


def test_a_cold_read_counts_though_the_cache_s_size_is_not_known() -> None:
    work = cost.Work(0.0, 0.0, "bfloat16", least_read=1.25e9)
    assert work.floor_ms(_ceilings()) == pytest.approx(1.0)
    assert work.floor_ms(_ceilings(), l2="warm") == 0.0
    assert work.floor_ms(_ceilings(l2_bytes=2_000_000_000), l2="warm") == 0.0


def test_the_floor_of_a_call_is_by_its_own_inputs() -> None:
    definition = EMPTY[1][0]
    axes = {"batch_size": 1, "len_indptr": 2, "num_kv_indices": 1000, "num_pages": 1000}
    inputs = {
        "kv_indptr": torch.tensor([0, 1000], dtype=torch.int32),
        "kv_indices": torch.arange(1000, dtype=torch.int32),
    }
    floor = cost.floor_ms(definition, axes, inputs, _ceilings(l2_bytes=1))
    assert floor >= 1000 * 2 * 2 * 16 * 2 / 1.25e12 * 1e3 > 0.0


def test_the_narrowest_of_the_tensors() -> None:
    norm = rmsnorm.FAMILY.definition(64, 1e-5)
    scalar = base.tensor(None, "float8_e4m3fn")
    more = norm.model_copy(update={"inputs": {**norm.inputs, "scale": scalar}})
    assert cost.narrowest(more) == "bfloat16"
    assert cost.narrowest(norm.model_copy(update={"inputs": {"i": base.tensor("n", "int32")}})) == (
        "float32"
    )


def test_a_rate_below_one_is_a_rate_and_none_is_no_time() -> None:
    assert cost._ms(3.0, 0.5) == 6000.0
    assert cost._ms(3.0, 0.0) == cost._ms(3.0, -1.0) == 0.0


def test_where_the_tolerance_is_not_known_four_bits_may_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def foreign(op_type: str) -> None:
        raise KeyError(op_type)

    monkeypatch.setattr(cost, "family_or_generic", foreign)
    work = cost.work(rmsnorm.FAMILY.definition(64, 1e-5), {"batch_size": 3})
    assert work.least_dtype == "float4_e2m1" and work.note
