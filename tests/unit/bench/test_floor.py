"""The floor: what a call cannot do without, and no honest kernel's latency below it."""

from __future__ import annotations

import dataclasses

import pytest

from kernelkit.bench.limits import cost, least
from kernelkit.dataset.definition import Definition
from kernelkit.ops import base, dsa_paged, family, gemm, gqa_paged, gqa_ragged, mamba_ssu, rmsnorm

torch = pytest.importorskip("torch")

from call_samples import FORMS, inputs_of, machine, work_of  # noqa: E402


@pytest.mark.parametrize("definition", FORMS, ids=lambda d: d.name)
def test_the_least_is_never_more_than_the_model(definition: Definition) -> None:
    axes = family(definition.op_type).small_axes(definition)
    for inputs, of_call in ((None, False), (inputs_of(definition), True)):
        work = cost.work(definition, axes, inputs, for_this_call=of_call)
        assert not work.note
        assert work.least_read + work.least_written <= work.bytes_moved
        assert work.least_flops <= work.flops
        for l2 in ("cold", "warm"):
            floor = work.floor_ms(machine(l2_bytes=1), l2=l2)
            assert floor <= work.speed_of_light(1.0, machine())["limit_ms"] / 1.25
    if definition.op_type != "sampling":
        assert work.least_read > 0, "with inputs, something must be read"


@pytest.mark.parametrize("definition", FORMS, ids=lambda d: d.name)
def test_other_calls_of_a_workload_may_have_less_to_do(definition: Definition) -> None:
    axes = family(definition.op_type).small_axes(definition)
    inputs = inputs_of(definition)
    any_call, this = cost.work(definition, axes, inputs), work_of(definition, axes, inputs)
    assert (any_call.bytes_moved, any_call.flops) == (this.bytes_moved, this.flops)
    bare = cost.work(definition, axes)
    assert any_call.least_read == bare.least_read <= this.least_read
    assert any_call.least_flops == bare.least_flops <= this.least_flops


@pytest.mark.parametrize("prefill", [False, True])
def test_paged_tokens_against_a_plain_count(prefill: bool) -> None:
    """Random tables with shared pages, empty requests and requests without queries."""
    definition = gqa_paged.FAMILY.definition(4, 2, 16, 8, prefill=prefill)
    rng = torch.Generator().manual_seed(3)
    for _ in range(20):
        counts = torch.randint(0, 4, (5,), generator=rng)
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        pages = torch.randint(0, 6, (int(starts[-1]) + 2,), generator=rng)
        last = torch.where(counts > 0, torch.randint(1, 9, (5,), generator=rng), 0)
        queries = torch.randint(0, 2, (5,), generator=rng) if prefill else torch.ones(5).long()
        held: dict[int, int] = {}
        for i in range(5):
            used = pages[starts[i] : starts[i + 1]].tolist() if queries[i] else []
            for n, page in enumerate(used):
                seen = int(last[i]) if n == len(used) - 1 else 8
                held[page] = max(held.get(page, 0), seen)
        values = {"kv_indptr": starts.int(), "kv_indices": pages.int(),
                  "kv_last_page_len": last.int()}  # fmt: skip
        axes = {"batch_size": 5, "len_indptr": 6, "num_kv_indices": len(pages), "num_pages": 6}
        if prefill:
            ends = queries.cumsum(0)
            values["qo_indptr"] = torch.cat([torch.zeros(1, dtype=torch.int64), ends]).int()
            axes["total_q"] = int(ends[-1])
        work = work_of(definition, axes, values)
        assert work.least_read == sum(held.values()) * 2 * 2 * 16 * 2


def test_pages_that_requests_share_are_read_once() -> None:
    definition = gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False)
    axes = {"batch_size": 3, "len_indptr": 4, "num_kv_indices": 30, "num_pages": 50}
    values = {
        "kv_indptr": torch.tensor([0, 10, 20, 30], dtype=torch.int32),
        "kv_indices": torch.arange(10, dtype=torch.int32).repeat(3),
    }
    work = work_of(definition, axes, values)
    assert work.least_read == 10 * 2 * (2 * 16 * 2)
    assert work.least_flops == work.flops, "each query still meets each key"


def test_distinct_tokens_of_shared_and_partial_pages() -> None:
    def distinct(pages: list[int], tokens: list[int]) -> int:
        return least.distinct_tokens(
            torch.tensor(pages, dtype=torch.int64), torch.tensor(tokens, dtype=torch.int64)
        )

    assert distinct([1, 2], [8, 4]) == 12
    assert distinct([1, 2, 1, 2], [8, 4, 8, 7]) == 15
    assert distinct([1, 2, 2, 3], [8, 4, 8, 1]) == 8 + 8 + 1
    assert distinct([4], [0]) == distinct([], []) == 0


def test_a_request_without_queries_needs_no_keys() -> None:
    definition = gqa_ragged.FAMILY.definition(4, 2, 16)
    axes = {"len_indptr": 3, "total_q": 5, "total_kv": 40}
    values = {"qo_indptr": torch.tensor([0, 0, 5]), "kv_indptr": torch.tensor([0, 30, 40])}
    assert work_of(definition, axes, values).least_read == 2 * 10 * 2 * 16 * 2


def test_sparse_slots_count_once_and_padding_never() -> None:
    definition = dsa_paged.FAMILY.sparse(4, 32, 16, 4, 4)
    slots = torch.tensor([[0, 1, 2, -1], [2, 1, 9, -1]])
    work = work_of(definition, {"num_tokens": 2, "num_pages": 5}, {"sparse_indices": slots})
    assert work.least_read == 4 * (32 + 16) * 2


def test_the_indexer_need_not_look_where_all_tokens_are_chosen() -> None:
    definition = dsa_paged.FAMILY.indexer(4, 16, 100)
    axes = {"batch_size": 2, "max_num_pages": 3, "num_pages": 9}
    table = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32)
    values = {"block_table": table, "seq_lens": torch.tensor([100, 130])}
    assert work_of(definition, axes, values).least_read == 130 * (16 + 4)


def test_states_of_padded_requests_are_not_read() -> None:
    definition = mamba_ssu.FAMILY.definition(4, 16, 16, 2)
    axes = {"batch_size": 3, "state_cache_size": 8}
    values = {"state_batch_indices": torch.tensor([5, -1, 2], dtype=torch.int32)}
    assert work_of(definition, axes, values).least_read == 2 * 4 * 16 * 16 * 2


def test_idle_experts_are_not_read() -> None:
    definition = FORMS[16]
    values = inputs_of(definition, {"seq_len": 6})
    values["routing_logits"] = torch.tensor([[9.0, 8.0, 0.0, 0.0]]).repeat(6, 1)
    half = work_of(definition, {"seq_len": 6}, values).least_read
    weights = [n for n in definition.inputs if n.startswith("gemm")]
    total = sum(base.tensor_bytes(definition, name, {"seq_len": 6}) for name in weights)
    assert half == pytest.approx(total / 2, rel=0.01)


def test_index_dependent_ops_have_no_floor_without_their_inputs() -> None:
    for definition in FORMS:
        if definition.op_type in ("gqa_paged", "mla_paged", "dsa_paged", "mamba_ssu", "moe"):
            axes = family(definition.op_type).small_axes(definition)
            work = cost.work(definition, axes)
            assert (work.least_read, work.least_flops) == (0, 0), definition.name


def test_the_floor_counts_reads_cold_and_only_what_exceeds_the_cache_warm() -> None:
    work = cost.Work(0, 0, "bfloat16", least_read=100e6, least_written=70e6)
    has = machine(l2_bytes=60_000_000)
    assert work.floor_ms(has) == pytest.approx((100e6 + 10e6) / 1.25e12 * 1e3)
    assert work.floor_ms(has, l2="warm") == pytest.approx((40e6 + 10e6) / 1.25e12 * 1e3)
    small = dataclasses.replace(work, least_written=50e6)
    assert small.floor_ms(has) == pytest.approx(100e6 / 1.25e12 * 1e3), "writes may stay cached"
    assert work.floor_ms(machine(), l2="warm") == 0.0, "a cache of unknown size"


def test_the_floor_takes_the_larger_of_bytes_and_flops() -> None:
    work = cost.Work(0, 0, "bfloat16", least_read=1.0, least_flops=1e12)
    assert work.floor_ms(machine()) == pytest.approx(1e12 / 125e12 * 1e3)


def test_a_cpu_is_judged_warm_and_with_ten_times_the_room() -> None:
    work = cost.Work(0, 0, "float32", least_read=100e6)
    cpu = machine("cpu", gb_per_s=10, l2_bytes=50_000_000)
    assert work.floor_ms(cpu) == pytest.approx(50e6 / 100e9 * 1e3)
    assert work.floor_ms(machine("cpu", l2_bytes=0)) == 0.0


def test_good_kernels_on_an_h200_are_above_the_floor() -> None:
    """Latencies of good kernels, measured with cold L2; and a tenth of each, which none reaches."""
    facts = {"sm_count": 132, "l2_bytes": 60 << 20, "capability": [9, 0],
             "sm_clock_hz": 1_980_000_000, "memory_clock_hz": 3_201_000_000,
             "memory_bus_bits": 6144}  # fmt: skip
    h200 = machine(gb_per_s=4300, tflops=790, **facts)
    norm = rmsnorm.FAMILY.definition(8192, 1e-5)
    product = gemm.FAMILY.definition(8192, 8192)
    # At the datasheet's 4.8 TB/s, and at 894 TFLOP/s (a product of zeros), faster than real ones.
    for definition, axes, fastest_ms in (
        (norm, {"batch_size": 32768}, 2 * 32768 * 8192 * 2 / 4.8e12 * 1e3),
        (product, {"M": 8192}, 2 * 8192**3 / 894e12 * 1e3),
    ):
        floor = cost.floor_ms(definition, axes, None, h200)
        assert 0.5 * fastest_ms < floor < fastest_ms
