"""Speed of light and the floor: numbers worked out by hand, and what no honest kernel may meet."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernelkit.bench.limits import cost, least
from kernelkit.bench.limits.ceilings import Ceilings, Figure
from kernelkit.dataset.definition import Definition
from kernelkit.errors import UsageError
from kernelkit.ops import (
    base,
    dsa_paged,
    family,
    gdn,
    gemm,
    gqa_paged,
    gqa_ragged,
    mamba_ssu,
    mla_paged,
    mla_ragged,
    moe,
    rmsnorm,
    rope,
    sampling,
)

torch = pytest.importorskip("torch")

FORMS = [
    rmsnorm.FAMILY.definition(64, 1e-5),
    rmsnorm.FAMILY.definition(64, 1e-5, fused=True),
    gemm.FAMILY.definition(32, 64),
    gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False),
    gqa_paged.FAMILY.definition(4, 2, 16, 8, prefill=False),
    gqa_paged.FAMILY.definition(4, 2, 16, 8, prefill=True),
    gqa_ragged.FAMILY.definition(4, 2, 16),
    mla_paged.FAMILY.definition(4, 32, 16, 8, prefill=False),
    mla_paged.FAMILY.definition(4, 32, 16, 1, prefill=True),
    mla_ragged.FAMILY.definition(4, 24, 16),
    dsa_paged.FAMILY.sparse(4, 32, 16, 8, 4),
    dsa_paged.FAMILY.indexer(4, 16, 8),
    gdn.FAMILY.definition(2, 4, 16, stage="decode"),
    gdn.FAMILY.definition(2, 4, 16, stage="mtp"),
    gdn.FAMILY.definition(2, 4, 16, stage="prefill"),
    mamba_ssu.FAMILY.definition(4, 16, 16, 2),
    moe.FAMILY.definition(
        "fp8_block", "renorm", num_experts=4, top_k=2, hidden_size=128, intermediate_size=128
    ),
    moe.FAMILY.definition(
        "fp8_block", "ds", num_experts=8, top_k=2, hidden_size=128, intermediate_size=128,
        n_group=2, topk_group=1,
    ),
    rope.FAMILY.definition(16, 8),
    sampling.FAMILY.definition("top_k", 100),
]  # fmt: skip


def machine(device: str = "cuda", gb_per_s: float = 1000.0, tflops: float = 100.0,
            **facts: Any) -> Ceilings:  # fmt: skip
    """A machine of round numbers: 1 TB/s and 100 TFLOP/s in 16 bits, 200 in float8."""
    rates = {"copy": (gb_per_s, "GB/s"), "bf16": (tflops, "TFLOP/s"), "fp16": (tflops, "TFLOP/s"),
             "fp8": (2 * tflops, "TFLOP/s"), "fp32": (tflops / 10, "TFLOP/s")}  # fmt: skip
    figures = {
        name: Figure(value, unit, "by hand", 9, 0.0) for name, (value, unit) in rates.items()
    }
    return Ceilings(device, "m", "1", "2", facts, figures, {}, "")


def work_of(definition: Definition, axes: dict[str, int], inputs: dict[str, Any]) -> cost.Work:
    """The work of a call on just these inputs."""
    return cost.work(definition, axes, inputs, for_this_call=True)


def inputs_of(definition: Definition, axes: dict[str, int] | None = None) -> dict[str, Any]:
    """Small inputs of the family."""
    op = family(definition.op_type)
    return op.make_inputs(definition, axes or op.small_axes(definition), 7)


def test_a_memory_bound_call_by_hand() -> None:
    definition = rmsnorm.FAMILY.definition(4096, 1e-5)
    facts = cost.speed_of_light(definition, {"batch_size": 1024}, None, 0.02, machine())
    moved = 2 * 1024 * 4096 * 2 + 4096 * 2
    assert facts["bytes_moved"] == moved
    assert facts["flops"] == 4 * 1024 * 4096
    assert facts["gb_per_s"] == pytest.approx(moved / 0.02e-3 / 1e9)
    assert facts["tflop_per_s"] == pytest.approx(4 * 1024 * 4096 / 0.02e-3 / 1e12)
    assert facts["limit"] == "memory"
    assert facts["limit_ms"] == pytest.approx(moved / 1e12 * 1e3)
    assert facts["percent"] == pytest.approx(100 * moved / 1e12 * 1e3 / 0.02)
    json.dumps(facts, allow_nan=False)


def test_a_compute_bound_call_by_hand() -> None:
    definition = gemm.FAMILY.definition(4096, 4096)
    facts = cost.speed_of_light(definition, {"M": 4096}, None, 2.0, machine())
    assert facts["limit"] == "compute"
    assert facts["limit_ms"] == pytest.approx(2 * 4096**3 / 100e12 * 1e3)
    assert facts["percent"] == pytest.approx(100 * facts["limit_ms"] / 2.0)


def test_float8_experts_are_held_against_the_float8_rate() -> None:
    definition = FORMS[16]
    assert cost.narrowest(definition) == "float8_e4m3fn"
    big = dataclasses.replace(cost.work(definition, {"seq_len": 5}), bytes_moved=1.0, flops=1e12)
    assert big.speed_of_light(10.0, machine())["limit_ms"] == pytest.approx(1e12 / 200e12 * 1e3)


def test_without_ceilings_there_is_no_limit() -> None:
    facts = cost.speed_of_light(FORMS[0], {"batch_size": 3}, None, 1.0, None)
    assert set(facts) == {"bytes_moved", "flops", "gb_per_s", "tflop_per_s"}
    assert cost.floor_ms(FORMS[0], {"batch_size": 3}, None, None) == 0.0


@pytest.mark.parametrize("latency", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_latency_is_refused(latency: float) -> None:
    with pytest.raises(UsageError, match="not a latency"):
        cost.speed_of_light(FORMS[0], {"batch_size": 3}, None, latency, machine())


def test_an_unknown_op_counts_all_bytes_no_flops_and_no_floor() -> None:
    rows = base.tensor("n d", "float32")
    table = Definition(
        name="gather_d64", op_type="gather", axes={"n": base.var(), "d": base.const(64)},
        inputs={"table": rows, "index": base.tensor("n", "int64")}, outputs={"out": rows},
        reference="def run(table, index):\n    return table[index]\n",
    )  # fmt: skip
    work = cost.work(table, {"n": 1000})
    assert work.bytes_moved == 1000 * (64 * 4 * 2 + 8)
    assert work.flops == 0
    # A gather may read a thousandth of its table: nothing is known of what it must do.
    assert work.floor_ms(machine(l2_bytes=1)) == 0.0
    assert work.speed_of_light(1.0, machine())["limit"] == "memory"


def test_a_definition_foreign_to_its_family_is_counted_not_refused() -> None:
    rows = base.tensor("x y", "bfloat16")
    other = Definition(
        name="gemm_odd", op_type="gemm", axes={"x": base.var(), "y": base.const(8)},
        inputs={"left": rows, "right": rows}, outputs={"out": rows},
        reference="def run(left, right):\n    return left\n",
    )  # fmt: skip
    work = cost.work(other, {"x": 100})
    assert work.bytes_moved == 3 * 100 * 8 * 2
    assert (work.flops, work.least_read, work.least_flops) == (0, 0, 0)
    assert work.note
    assert cost.work(other, {}).bytes_moved == 0, "axes without values"


def test_a_window_makes_it_another_op() -> None:
    full = FORMS[3]
    scalar = base.tensor(None, "int32")
    windowed = full.model_copy(update={"inputs": {**full.inputs, "window_left": scalar}})
    values = inputs_of(full)
    axes = family("gqa_paged").small_axes(full)
    assert work_of(full, axes, values).least_read > 0
    assert work_of(windowed, axes, {**values, "window_left": 4}).least_read == 0


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


def test_an_op_that_may_be_wrong_in_places_may_run_in_four_bits() -> None:
    assert cost.work(FORMS[16], {"seq_len": 5}).least_dtype == "float4_e2m1"
    assert cost.work(FORMS[2], {"M": 5}).least_dtype == "float16"


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


def test_work_is_plain_data() -> None:
    work = cost.work(FORMS[5], family("gqa_paged").small_axes(FORMS[5]), inputs_of(FORMS[5]))
    assert cost.Work(**json.loads(json.dumps(work.to_json()))) == work


def test_numbers_need_no_torch() -> None:
    scripts = Path(__file__).resolve().parents[3] / "scripts"
    code = (
        f"import sys; sys.path.insert(0, {str(scripts)!r})\n"
        "from kernelkit.bench.limits import ceilings, cost\n"
        "from kernelkit.ops import gemm\n"
        "d = gemm.FAMILY.definition(64, 64)\n"
        "f = {'copy': ceilings.Figure(1.0, 'GB/s', '', 3, 0.0)}\n"
        "c = ceilings.Ceilings('cuda', 'x', '', '', {}, f, {}, '')\n"
        "assert cost.floor_ms(d, {'M': 4}, None, c) > 0\n"
        "cost.speed_of_light(d, {'M': 4}, None, 1.0, c)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
