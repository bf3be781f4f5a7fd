"""The device that runs, and what is installed for it."""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kernelkit.errors import MissingDependencyError, UsageError

PACKAGES = ("triton", "flashinfer-python")


def choose(asked: str | None) -> list[str]:
    """The devices to use: what was asked for, else a GPU where there is one, else the CPU.

    torch stays out of this process: a short-lived one is asked. Raises MissingDependencyError
    where torch or the device is absent, UsageError for another name.
    """
    if asked is not None and not re.fullmatch(r"cpu|all|cuda(:\d+)?", asked):
        raise UsageError("no such device", received=asked, allowed="cpu, cuda, cuda:N, all")
    if importlib.util.find_spec("torch") is None:
        raise MissingDependencyError(
            "torch is not installed", next_step="pip install torch (a CPU build is enough)"
        )
    if asked == "cpu":
        return ["cpu"]
    count = gpu_count()
    if asked is None:
        return ["cuda:0" if count else "cpu"]
    number = int(asked.partition(":")[2] or 0)
    if number >= count:
        raise MissingDependencyError(
            "no such CUDA device",
            received=asked,
            allowed=f"cpu; {count} GPUs are here",
            next_step="python scripts/doctor.py shows what this machine can do",
        )
    return [f"cuda:{n}" for n in range(count)] if asked == "all" else [f"cuda:{number}"]


def gpu_count() -> int:
    """How many GPUs the CUDA driver shows. Asked in a short-lived process, without torch."""
    code = (
        "import ctypes; n = ctypes.c_int(); d = ctypes.CDLL('libcuda.so.1')\n"
        "print(n.value if d.cuInit(0) or d.cuDeviceGetCount(ctypes.byref(n)) else n.value)"
    )
    found = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True)
    return int(found.stdout) if found.returncode == 0 else 0


def open_cuda(device: str) -> None:
    """Open a GPU for torch in this process.

    torch asks NVML five times how many there are before it has opened one, 60 ms a time on an
    H200, and NVML lets in one process at a time: what it would keep in the end is put there first.
    """
    import torch

    torch.cuda._cached_device_count = torch._C._cuda_getDeviceCount()
    torch.cuda.set_device(device)
    torch.zeros(1, device=device)


def hardware(device: str) -> str:
    """The model name of the GPU or of the CPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return _cpu_name()


def libraries() -> dict[str, str]:
    """Versions of what decides about results; torch's with its build (+cpu, +cu130)."""
    import torch

    found = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "CPU"
