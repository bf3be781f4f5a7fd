"""Speed of light: bytes, flops and limits worked out by hand."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.bench.limits import cost
from kernelkit.dataset.definition import Definition
from kernelkit.errors import UsageError
from kernelkit.ops import base, family, gemm, rmsnorm

torch = pytest.importorskip("torch")

from call_samples import FORMS, inputs_of, machine, work_of  # noqa: E402


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


def test_an_op_that_may_be_wrong_in_places_may_run_in_four_bits() -> None:
    assert cost.work(FORMS[16], {"seq_len": 5}).least_dtype == "float4_e2m1"
    assert cost.work(FORMS[2], {"M": 5}).least_dtype == "float16"


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
