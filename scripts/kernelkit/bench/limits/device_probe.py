"""Measure a device's ceilings with torch: copy, read, fill, matrix products, an empty window.

Each figure is the median of repeated calls on random data (zeros run faster than real data does).
GPU times come from CUDA events around each call, calls queued back to back; CPU times from the
wall clock. Sizes grow until a call is long enough that its start does not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from kernelkit.bench.limits.ceilings import MATMUL, WINDOW, Ceilings, Figure
from kernelkit.bench.limits.device_facts import facts_of, identify

Call = Callable[[], object]
WARM_UP_S = 0.3  # a GPU's clocks rise from idle
BUFFER_BYTES = {"cuda": 2 << 30, "cpu": 256 << 20}
SIDES = {"cuda": (2048, 4096, 8192, 16384), "cpu": (512, 1024, 2048)}
LONG_ENOUGH_S = {"cuda": 8e-3, "cpu": 0.15}  # a longer call is no faster a rate
MOST_SAMPLES, LEAST_SAMPLES, BUDGET_S = 15, 3, 0.4
FP8_CAPABILITY = (8, 9)


def measure(device: str) -> Ceilings:
    """All ceilings of cuda:N or cpu, in under ten seconds."""
    with _selected(device):
        if device != "cpu":
            _warm_up(device)
        facts = facts_of(device)
        figures = {**_memory(device, facts), **({} if device == "cpu" else _window())}
        absent = {}
        for unit in MATMUL:
            found = _matmul(device, unit)
            if isinstance(found, Figure):
                figures[unit] = found
            else:
                absent[unit] = found
    if device == "cpu":
        absent[WINDOW] = "a CPU has no events"
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Ceilings(device.split(":")[0], *identify(device), facts, figures, absent, now)


def _memory(device: str, facts: dict[str, Any]) -> dict[str, Figure]:
    """Copy, read-only and write-only bandwidth over buffers far beyond the caches, in GB/s."""
    import torch

    kind = device.split(":")[0]
    size = max(BUFFER_BYTES[kind], 4 * int(facts.get("l2_bytes") or 0))
    most = torch.cuda.mem_get_info()[0] // 4 if kind == "cuda" else 1 << 30
    count = min(size, most) // 4
    source = torch.rand(count, device=device)
    target = torch.empty_like(source)
    mib = count * 4 >> 20
    calls: dict[str, tuple[Call, int, str]] = {
        "copy": (lambda: target.copy_(source), 2, "target.copy_(source), bytes read + written"),
        "read": (lambda: source.sum(), 1, "source.sum(), bytes read"),
        "fill": (lambda: target.fill_(1.5), 1, "target.fill_(1.5), bytes written"),
    }
    return {
        name: _figure(
            samples_of(call, kind),
            lambda s, passes=passes: passes * count * 4 / s / 1e9,
            "GB/s",
            f"{text}; float32, {mib} MiB a buffer",
        )
        for name, (call, passes, text) in calls.items()
    }


def _window() -> dict[str, Figure]:
    """The time between two events with nothing between them: what no measurement goes below."""
    samples = samples_of(lambda: None, "cuda", most=200)
    return {WINDOW: _figure(samples, lambda s: s * 1e6, "us", "two CUDA events, nothing between")}


def _matmul(device: str, unit: str) -> Figure | str:
    """The best rate over the sizes in TFLOP/s, or why there is none."""
    import torch

    kind = device.split(":")[0]
    if unit in ("tf32", "fp8") and kind == "cpu":
        return "a type of GPU matrix units"
    if unit == "fp8" and torch.cuda.get_device_capability() < FP8_CAPABILITY:
        return "no float8 matrix units on this GPU"
    best: Figure | None = None
    try:
        with _precision(unit):
            for side in SIDES[kind]:
                call, text = product(device, unit, side)
                seconds = samples_of(call, kind)
                found = _figure(
                    seconds, lambda s, side=side: 2.0 * side**3 / s / 1e12, "TFLOP/s",
                    f"{text}, {side} x {side} x {side}, normal data",
                )  # fmt: skip
                best = found if best is None or found.value > best.value else best
                if statistics.median(seconds) > LONG_ENOUGH_S[kind]:
                    break
    except (RuntimeError, AttributeError, TypeError) as error:  # also: out of memory
        return best or f"torch: {str(error).strip().splitlines()[0][:200]}"
    return best or "not measured"


def product(device: str, unit: str, side: int) -> tuple[Call, str]:
    """A call of one square matrix product on normal data, and its name."""
    import torch

    names = {"bf16": "bfloat16", "fp16": "float16", "fp8": "float8_e4m3fn"}
    dtype = getattr(torch, names.get(unit, "float32"))
    half = torch.float32 if device == "cpu" or unit in ("tf32", "fp32") else torch.bfloat16
    a, b = (torch.randn(side, side, device=device, dtype=half).to(dtype) for _ in range(2))
    if unit != "fp8":
        out = torch.empty_like(a)
        return (lambda: torch.mm(a, b, out=out)), f"torch.mm {unit}"
    one = torch.ones((), device=device)

    def scaled() -> object:
        return torch._scaled_mm(
            a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
        )

    return scaled, "torch._scaled_mm float8_e4m3fn, one scale, bf16 out"


@contextmanager
def _precision(unit: str) -> Iterator[None]:
    """tf32 allowed for it alone; the setting is as before afterwards."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch prefers another name of the same switch
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if unit == "tf32" else "highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


@contextmanager
def _selected(device: str) -> Iterator[None]:
    """The GPU as the current one, for events and streams; no gradients."""
    import torch

    with torch.no_grad():
        if device == "cpu":
            yield
        else:
            with torch.cuda.device(device):
                yield
                torch.cuda.empty_cache()


def _warm_up(device: str) -> None:
    import torch

    call, _ = product(device, "bf16", 4096)
    deadline = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < deadline:
        call()
        torch.cuda.synchronize()


def samples_of(call: Call, kind: str, most: int = MOST_SAMPLES) -> list[float]:
    """Seconds of repeated calls after one untimed: as many as the budget allows, at least 3."""
    clock = _event_seconds if kind == "cuda" else _wall_seconds
    first = max(clock(call, 2)[1], 1e-7)
    count = min(most, max(LEAST_SAMPLES, int(BUDGET_S / first)))
    return clock(call, count)


def _event_seconds(call: Call, count: int) -> list[float]:
    import torch

    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
    for start, end in marks:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1e-3 for start, end in marks]


def _wall_seconds(call: Call, count: int) -> list[float]:
    found = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def _figure(seconds: list[float], rate: Callable[[float], float], unit: str, method: str) -> Figure:
    """The rate at the median time; its spread is that of the times."""
    middle = max(statistics.median(seconds), 1e-9)  # two events may have one time stamp
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return Figure(rate(middle), unit, method, len(seconds), (tenths[8] - tenths[0]) / middle)
