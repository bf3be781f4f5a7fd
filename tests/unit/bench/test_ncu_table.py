"""ncu's table: parsed, and explained in a line."""

from __future__ import annotations

import json

import pytest
from ncu_pages import NAME, counters, table

from kernelkit.bench.tools import ncu_table
from kernelkit.bench.tools.ncu_table import METRICS
from kernelkit.bench.tools.profile_ncu import ProfileReport


def test_a_table_is_parsed() -> None:
    (kernel,) = ncu_table.parse(
        table([(NAME, counters("88.12", "21.40", long_scoreboard="7.31", wait="1.20"))])
    )
    assert kernel.name == NAME
    assert kernel.grid == "(1,024, 1, 1)"
    assert kernel.duration_us == pytest.approx(12.345)
    assert kernel.values["dram_read_bytes"] == 40e6
    assert kernel.values["dram_percent"] == 88.12
    assert kernel.values["registers"] == 96
    assert kernel.stall == "long_scoreboard"
    assert "occupancy_limit_percent" not in kernel.values


def test_scaled_units_and_missing_counters() -> None:
    values = counters("1.0", "2.0", duration="1.5")
    values[METRICS["dram_read_bytes"]] = "0.04"
    values[METRICS["tensor_percent"]] = "n/a"
    units = {"gpu__time_duration.sum": "msecond", "dram__bytes_read.sum": "Gbyte"}
    (kernel,) = ncu_table.parse(table([("k", values)], units))
    assert kernel.duration_us == pytest.approx(1500)
    assert kernel.values["dram_read_bytes"] == pytest.approx(40e6)
    assert "tensor_percent" not in kernel.values
    assert kernel.stall is None


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("1,234.5", "%", 1234.5),
        ("7", "nsecond", 7e-9),
        ("7", "ns", 7e-9),
        ("7", "us", 7e-6),
        ("7", "second", 7.0),
        ("2", "Kbyte", 2000.0),
        ("3", "Gbyte/second", 3e9),
        ("96", "register/thread", 96.0),
        ("n/a", "%", None),
        ("", "", None),
    ],
)
def test_numbers(text: str, unit: str, value: float | None) -> None:
    assert ncu_table.number(text, unit) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize("text", ["", "==PROF== Connected\n", "no table\n", '"ID","Kernel Name"\n'])
def test_no_table_gives_no_kernels(text: str) -> None:
    assert ncu_table.parse(text) == []


@pytest.mark.parametrize(
    ("dram", "sm", "tensor", "bound"),
    [
        ("88", "21", "0", "memory"),
        ("12", "55", "81", "compute"),
        ("75", "71", "68", "both"),
        ("11", "9", "2", "latency"),
        ("45", "30", "0", "memory"),
    ],
)
def test_what_binds(dram: str, sm: str, tensor: str, bound: str) -> None:
    (kernel,) = ncu_table.parse(table([("k", counters(dram, sm, tensor))]))
    assert ncu_table.bound_of(kernel) == bound


def test_the_explanation_is_one_line_about_the_slowest_kernel() -> None:
    kernels = ncu_table.parse(
        table([
            ("void fill<int>(int *)", counters("5", "4", duration="1,000")),
            (NAME, counters("88.1", "21.4", duration="9,000", long_scoreboard="7.3", wait="1")),
        ])
    )  # fmt: skip
    report = ProfileReport(kernels)
    assert report.bound == "memory"
    assert report.explanation == (
        "norm_kernel (90% of 10.0 us): memory-bound (DRAM 88 %, SM 21 %, tensor 0 %); "
        "most warps: waits for global or local memory"
    )
    text = report.to_text().splitlines()
    assert len(text) == 3
    assert "DRAM MB 42.5" in text[2] and "registers 96" in text[2] and "L2 hit % 31.02" in text[2]
    json.dumps(report.to_json(), allow_nan=False)


def test_kernels_of_one_name_keep_their_own_rows() -> None:
    kernels = ncu_table.parse(table([("k", counters("1", "2")), ("k", counters("3", "4"))]))
    assert [kernel.values["dram_percent"] for kernel in kernels] == [1.0, 3.0]
