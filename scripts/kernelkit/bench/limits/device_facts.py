"""What a device is: name, driver, clocks, widths, caches. Nothing is measured here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CPUS = Path("/sys/devices/system/cpu")
# CUdevice_attribute: the highest clocks in kHz, the width of the memory bus in bits.
CLOCK_RATE, MEMORY_CLOCK_RATE, MEMORY_BUS_WIDTH = 13, 36, 37


def identify(device: str) -> tuple[str, str, str]:
    """The name, driver and torch version of cpu or cuda:N: what the cache key is made of.

    A CPU's "driver" is the number of threads that torch uses, for the ceilings follow it.
    """
    import torch

    from kernelkit.bench.device import hardware

    driver = f"{torch.get_num_threads()}-threads" if device == "cpu" else _driver()
    return hardware(device), driver, str(torch.__version__)


def _driver() -> str:
    """The NVIDIA driver's version; "unknown" where the system does not tell."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text):
            return found.group(1)
    except OSError:
        pass
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = done.stdout.split()
    return lines[0] if done.returncode == 0 and lines else "unknown"


def facts_of(device: str) -> dict[str, Any]:
    """See `Ceilings`; what the driver does not tell is left out."""
    import torch

    if device == "cpu":
        return {"threads": torch.get_num_threads(), "l2_bytes": last_level_cache_bytes(CPUS)}
    found = torch.cuda.get_device_properties(device)
    index = torch.device(device).index or 0
    told = {
        "sm_count": found.multi_processor_count,
        "l2_bytes": getattr(found, "L2_cache_size", None),
        "memory_bytes": found.total_memory,
        "capability": [found.major, found.minor],
        "sm_clock_hz": 1000 * _attribute(CLOCK_RATE, index),
        "memory_clock_hz": 1000 * _attribute(MEMORY_CLOCK_RATE, index),
        "memory_bus_bits": _attribute(MEMORY_BUS_WIDTH, index),
    }
    return {name: value for name, value in told.items() if value}


def _attribute(number: int, index: int) -> int:
    """An attribute of the GPU from CUDA's driver, which torch has started; 0 where it has none.

    torch's own properties have the clocks in some versions only.
    """
    import ctypes

    value = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        failed = driver.cuDeviceGetAttribute(ctypes.byref(value), number, index)
    except (OSError, AttributeError):
        return 0
    return 0 if failed else value.value


def last_level_cache_bytes(root: Path) -> int:
    """The sum of the CPU's last-level caches, each counted once; 0 where it is not told."""
    levels: dict[int, dict[str, int]] = {}
    for index in root.glob("cpu[0-9]*/cache/index[0-9]*"):
        try:
            level = int((index / "level").read_text())
            size = re.fullmatch(r"(\d+)([KMG]?)\s*", (index / "size").read_text())
            shared = (index / "shared_cpu_list").read_text().strip()
        except (OSError, ValueError):
            continue
        if size:
            scale = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size.group(2)]
            levels.setdefault(level, {})[shared] = int(size.group(1)) * scale
    return sum(levels[max(levels)].values()) if levels else 0
