"""What Nsight Compute prints, read into kernels with their counters, and said in one line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

METRICS = {
    "duration_us": "gpu__time_duration.sum",
    "dram_read_bytes": "dram__bytes_read.sum",
    "dram_write_bytes": "dram__bytes_write.sum",
    "dram_percent": "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "sm_percent": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "tensor_percent": "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed",
    "occupancy_percent": "sm__warps_active.avg.pct_of_peak_sustained_active",
    "occupancy_limit_percent": "sm__maximum_warps_per_active_cycle_pct",
    "registers": "launch__registers_per_thread",
    "l2_hit_percent": "lts__t_sector_hit_rate.pct",
}
STALL = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
STALLS = {
    "long_scoreboard": "waits for global or local memory",
    "short_scoreboard": "waits for shared memory or special functions",
    "barrier": "waits at a block's barrier",
    "math_pipe_throttle": "waits for a busy arithmetic unit",
    "mio_throttle": "too many shared-memory instructions in flight",
    "lg_throttle": "too many global-memory instructions in flight",
    "wait": "waits a fixed latency between dependent instructions",
    "no_instruction": "waits for instructions",
    "membar": "waits at a memory barrier",
    "sleeping": "sleeps",
}
SCALES = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BUSY, IDLE = 60.0, 40.0  # percent of peak: bound by a unit; bound by neither


@dataclass(frozen=True)
class Kernel:
    """One kernel launch; a counter that this GPU lacks is absent from `values`."""

    name: str
    grid: str
    block: str
    values: dict[str, float]
    stall: str | None = None  # the reason most warps waited for

    @property
    def duration_us(self) -> float:
        """As replayed; 0 where it was not counted."""
        return self.values.get("duration_us", 0.0)


def parse(text: str) -> list[Kernel]:
    """The kernels of `ncu --csv --page raw`: a header, a row of units, a row for each launch.

    ncu's own messages (==PROF==, ==WARNING==) and the program's output may stand between.
    """
    rows = csv.reader(io.StringIO("".join(_table_lines(text))))
    header = next(rows, None)
    if header is None:
        return []
    units = dict(zip(header, next(rows, []), strict=False))
    return [_kernel(dict(zip(header, row, strict=False)), units) for row in rows]


def _table_lines(text: str) -> Iterator[str]:
    """The lines from the header on that are of the table."""
    inside = False
    for line in text.splitlines(keepends=True):
        inside = inside or line.startswith('"ID",')
        if inside and line.startswith('"'):
            yield line


def _kernel(row: dict[str, str], units: dict[str, str]) -> Kernel:
    values = {}
    for name, metric in METRICS.items():
        value = number(row.get(metric, ""), units.get(metric, ""))
        if value is not None:
            values[name] = value * 1e6 if name == "duration_us" else value
    stalls = {name: number(row.get(STALL.format(name), ""), "") for name in STALLS}
    known = {name: value for name, value in stalls.items() if value is not None}
    worst = max(known, key=lambda name: known[name], default=None)
    return Kernel(
        row.get("Kernel Name", "?"), row.get("Grid Size", ""), row.get("Block Size", ""), values,
        worst if worst is not None and known[worst] > 0 else None,
    )  # fmt: skip


def number(text: str, unit: str) -> float | None:
    """A value in base units (bytes, seconds), thousands separators removed; None for `n/a`."""
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    match = re.match(r"^([numKMGT]?)(byte|second|s)\b", unit)
    return value * SCALES[match.group(1)] if match else value


def bound_of(kernel: Kernel) -> str:
    """By the busier of memory and compute units; latency where neither is busy."""
    memory = kernel.values.get("dram_percent", 0.0)
    compute = max(kernel.values.get(name, 0.0) for name in ("sm_percent", "tensor_percent"))
    if memory < IDLE and compute < IDLE:
        return "latency"
    if memory >= BUSY and compute >= BUSY:
        return "both"
    return "memory" if memory >= compute else "compute"


def explain(kernels: list[Kernel]) -> str:
    """One line on the slowest kernel: its share, what binds it, and what its warps wait for."""
    kernel = max(kernels, key=lambda item: item.duration_us)
    total = sum(item.duration_us for item in kernels)
    share = kernel.duration_us / total if total else 1.0
    values = kernel.values
    verdict = {
        "memory": "memory-bound", "compute": "compute-bound",
        "both": "bound by memory and compute alike", "latency": "bound by neither: latency",
    }[bound_of(kernel)]  # fmt: skip
    parts = [f"DRAM {values['dram_percent']:.0f} %"] if "dram_percent" in values else []
    parts += [f"SM {values['sm_percent']:.0f} %"] if "sm_percent" in values else []
    parts += [f"tensor {values['tensor_percent']:.0f} %"] if "tensor_percent" in values else []
    waits = f"; most warps: {STALLS[kernel.stall]}" if kernel.stall else ""
    name = short_name(kernel.name)
    return f"{name} ({share:.0%} of {total:.1f} us): {verdict} ({', '.join(parts)}){waits}"


def short_name(name: str, most: int = 60) -> str:
    """A kernel's name without its template's and function's arguments."""
    bare = re.sub(r"^void ", "", re.split(r"[<(]", name, maxsplit=1)[0]) or name
    return bare if len(bare) <= most else bare[: most - 3] + "..."


def line_of(kernel: Kernel) -> str:
    read, written = (kernel.values.get(f"dram_{way}_bytes") for way in ("read", "write"))
    shown = {
        "DRAM MB": None if read is None or written is None else (read + written) / 1e6,
        "DRAM %": kernel.values.get("dram_percent"),
        "SM %": kernel.values.get("sm_percent"),
        "tensor %": kernel.values.get("tensor_percent"),
        "occupancy %": kernel.values.get("occupancy_percent"),
        "of at most": kernel.values.get("occupancy_limit_percent"),
        "registers": kernel.values.get("registers"),
        "L2 hit %": kernel.values.get("l2_hit_percent"),
    }
    text = ", ".join(f"{name} {value:.4g}" for name, value in shown.items() if value is not None)
    stall = f", stall {kernel.stall}" if kernel.stall else ""
    return f"  {kernel.duration_us:9.2f} us  {short_name(kernel.name)}  {text}{stall}"
