"""Ceilings: measured on this CPU, kept and found again, limits from clocks and widths."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from kernelkit.bench.limits import ceilings, device_facts, device_probe
from kernelkit.bench.limits.ceilings import Ceilings, Figure

torch = pytest.importorskip("torch")


def figure(value: float, unit: str) -> Figure:
    """A figure of the given rate."""
    return Figure(value, unit, "by hand", 15, 0.01)


def h200(**facts: object) -> Ceilings:
    """An H200 as it was measured, with the facts that its driver tells."""
    told = {"sm_count": 132, "l2_bytes": 60 << 20, "capability": [9, 0],
            "sm_clock_hz": 1_980_000_000, "memory_clock_hz": 3_201_000_000,
            "memory_bus_bits": 6144, **facts}  # fmt: skip
    rates = {"bf16": 790, "fp16": 780, "tf32": 400, "fp32": 50, "fp8": 1400}
    figures = {name: figure(value, "TFLOP/s") for name, value in rates.items()}
    figures |= {"copy": figure(4300, "GB/s"), "read": figure(4200, "GB/s")}
    return Ceilings("cuda", "NVIDIA H200", "580.1", "2.11.0", told, figures, {}, "2026-01-01")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernelkit" / "devices"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that take no time; the rates are then of no use, their form is."""
    monkeypatch.setattr(device_probe, "BUFFER_BYTES", {"cpu": 1 << 20})
    monkeypatch.setattr(device_probe, "SIDES", {"cpu": (32, 64)})
    monkeypatch.setattr(device_probe, "BUDGET_S", 0.02)
    monkeypatch.setattr(device_facts, "CPUS", Path("/no/such/folder"))


def test_a_cpu_is_measured_kept_and_found_again(cache: Path, small: None) -> None:
    made = ceilings.current("cpu")
    assert made.device == "cpu"
    assert {"copy", "read", "fill", "fp32"} <= set(made.figures)
    for name, found in made.figures.items():
        assert 0 < found.value < math.inf, name
        assert found.samples >= 3 and found.method and found.unit in ("GB/s", "TFLOP/s")
    assert {"tf32", "fp8", "empty_window"} <= set(made.absent)
    assert ceilings.load(made.key) == made
    assert ceilings.current("cpu") == made, "the second call read the cache"
    assert [path.name for path in cache.iterdir()] == [f"{made.key}.json"]


def test_a_refresh_measures_again(cache: Path, small: None) -> None:
    made = ceilings.current("cpu")
    old = dataclasses.replace(made, measured_at="long ago")
    ceilings.save(old)
    assert ceilings.current("cpu").measured_at == "long ago"
    assert ceilings.current("cpu", refresh=True).measured_at != "long ago"


def test_a_cache_that_cannot_be_written_costs_only_time(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert ceilings.current("cpu").figures["copy"].value > 0


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "{}", '{"schema": 0}', '{"schema": 1, "figures": {}}']
)
def test_a_broken_cache_file_is_no_ceiling(cache: Path, text: str) -> None:
    cache.mkdir(parents=True)
    (cache / "x.json").write_text(text)
    assert ceilings.load("x") is None
    assert ceilings.load("absent") is None


def test_round_trip_through_json() -> None:
    made = h200()
    assert ceilings.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_key_is_a_file_name_that_tells_devices_apart() -> None:
    key = ceilings.device_key("NVIDIA H200", "580.159.04", "2.11.0+cu130")
    assert key == "NVIDIA-H200_580.159.04_2.11.0+cu130"
    assert ceilings.device_key("a/../b", "", "c") == "a-..-b_unknown_c"
    assert "/" not in ceilings.device_key("../../x", "/", "..")


def test_limits_of_an_h200_are_those_of_its_clocks_or_the_margin() -> None:
    made = h200()
    assert made.memory_bytes_per_s == 4.3e12
    # 2 x 3.201 GHz x 6144 bit = 4.917 TB/s is less than 1.25 times what was measured.
    assert made.limit_bytes_per_s == pytest.approx(4.3e12 * 1.25)
    slow = dataclasses.replace(made, figures={**made.figures, "copy": figure(3000, "GB/s"),
                                              "read": figure(2000, "GB/s")})  # fmt: skip
    assert slow.limit_bytes_per_s == pytest.approx(2 * 3.201e9 * 6144 / 8)
    # 132 x 1.98 GHz x 4096 = 1070 TFLOP/s, above 1.25 x 790.
    assert made.limit_flops_per_s("bfloat16") == pytest.approx(132 * 1.98e9 * 4096)
    assert made.limit_flops_per_s("float8_e4m3fn") == pytest.approx(2 * 132 * 1.98e9 * 4096)
    assert made.limit_flops_per_s("float32") == made.limit_flops_per_s("bfloat16")
    assert made.limit_flops_per_s("float4_e2m1") > made.limit_flops_per_s("float8_e4m3fn")


def test_a_device_that_tells_nothing_has_the_margin_alone() -> None:
    bare = dataclasses.replace(h200(), facts={})
    assert bare.limit_bytes_per_s == pytest.approx(4.3e12 * 1.25)
    assert bare.limit_flops_per_s("bfloat16") == pytest.approx(790e12 * 1.25)
    assert bare.l2_bytes == 0


def test_measured_roofs_by_dtype() -> None:
    made = h200()
    assert made.matmul_flops_per_s("bfloat16") == 790e12
    assert made.matmul_flops_per_s("float8_e4m3fn") == 1400e12
    assert made.matmul_flops_per_s("float32") == 400e12
    without = {name: f for name, f in made.figures.items() if name != "fp8"}
    older = dataclasses.replace(made, figures=without)
    assert older.matmul_flops_per_s("float8_e4m3fn") == 790e12, "served by the next wider unit"
    none = dataclasses.replace(made, figures={"copy": made.figures["copy"]})
    assert none.matmul_flops_per_s("bfloat16") == 0.0


def test_a_cpu_slower_in_16_bits_is_judged_by_its_best_unit() -> None:
    figures = {"copy": figure(20, "GB/s"), "bf16": figure(0.001, "TFLOP/s"),
               "fp32": figure(0.1, "TFLOP/s")}  # fmt: skip
    made = Ceilings("cpu", "c", "2-threads", "2", {"threads": 2}, figures, {}, "")
    assert made.matmul_flops_per_s("bfloat16") == pytest.approx(0.1e12)
    assert made.limit_flops_per_s("bfloat16") == pytest.approx(1e12), "ten times: a shared machine"


def test_last_level_caches_count_once_each(tmp_path: Path) -> None:
    def cache(cpu: int, index: int, level: int, size: str, shared: str) -> None:
        folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        (folder / "level").write_text(f"{level}\n")
        (folder / "size").write_text(f"{size}\n")
        (folder / "shared_cpu_list").write_text(f"{shared}\n")

    for cpu in range(4):
        cache(cpu, 0, 1, "32K", str(cpu))
        cache(cpu, 3, 3, "32M", "0-1" if cpu < 2 else "2-3")
    assert device_facts.last_level_cache_bytes(tmp_path) == 64 << 20
    assert device_facts.last_level_cache_bytes(tmp_path / "absent") == 0


@pytest.mark.gpu
def test_a_gpu_is_measured_in_ten_seconds(cache: Path) -> None:
    import time

    start = time.perf_counter()
    made = ceilings.measure("cuda:0")
    assert time.perf_counter() - start < 20, "torch's first use of the device included"
    assert made.figures["copy"].unit == "GB/s"
    assert 50 < made.figures["copy"].value < 20_000
    assert made.figures["bf16"].value > made.figures["fp32"].value
    assert 0 < made.figures["empty_window"].value < 100
    assert made.memory_bytes_per_s <= made.limit_bytes_per_s
    assert made.facts["sm_count"] > 0 and made.l2_bytes > 0
