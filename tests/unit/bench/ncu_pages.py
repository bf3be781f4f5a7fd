"""ncu's raw page as it prints it."""

from __future__ import annotations

from kernelkit.bench.tools.ncu_table import METRICS, STALL

COLUMNS = ["ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream",
           "Block Size", "Grid Size", "Device", "CC"]  # fmt: skip
UNITS = {
    "gpu__time_duration.sum": "ns",
    "dram__bytes_read.sum": "byte",
    "dram__bytes_write.sum": "byte",
    "launch__registers_per_thread": "register/thread",
}


def _row(cells: list[str]) -> str:
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)


def table(kernels: list[tuple[str, dict[str, str]]], units: dict[str, str] = UNITS) -> str:
    """ncu's raw page as it prints it: messages, header, units, a row for each launch."""
    metrics = sorted({metric for _, values in kernels for metric in values})
    lines = ["==PROF== Connected to process 4711 (/usr/bin/python3.12)",
             '==PROF== Profiling "norm": 0%....50%....100% - 6 passes',
             "==PROF== Disconnected from process 4711",
             _row([*COLUMNS, *metrics]),
             _row([""] * len(COLUMNS) + [units.get(m, "%") for m in metrics])]  # fmt: skip
    for number, (name, values) in enumerate(kernels):
        head = [str(number), "4711", "python3.12", "127.0.0.1", name, "1", "7", "(256, 1, 1)",
                "(1,024, 1, 1)", "0", "9.0"]  # fmt: skip
        lines.append(_row([*head, *(values.get(metric, "n/a") for metric in metrics)]))
    return "\n".join(lines) + "\n"


def counters(
    dram: str, sm: str, tensor: str = "0.00", duration: str = "12,345", **stalls: str
) -> dict[str, str]:
    """The counters of one launch."""
    named = {
        "duration_us": duration, "dram_read_bytes": "40,000,000", "dram_write_bytes": "2,500,000",
        "dram_percent": dram, "sm_percent": sm, "tensor_percent": tensor,
        "occupancy_percent": "48.70", "registers": "96", "l2_hit_percent": "31.02",
    }  # fmt: skip
    values = {METRICS[name]: value for name, value in named.items()}
    return values | {STALL.format(name): value for name, value in stalls.items()}


NAME = "void norm_kernel<__nv_bfloat16, 8>(const __nv_bfloat16 *, __nv_bfloat16 *, int, float)"
