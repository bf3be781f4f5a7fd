"""The device that runs, and what is installed for it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kernelkit.errors import MissingDependencyError, UsageError

PACKAGES = ("triton", "flashinfer-python")


def choose(asked: str | None) -> str:
    """The device to use: the one asked for, else cuda where there is one, else cpu.

    Raises MissingDependencyError where torch or the device is absent, UsageError for another name.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "torch is not installed", next_step="pip install torch (a CPU build is enough)"
        ) from None
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.split(":")[0] not in ("cpu", "cuda"):
        raise UsageError("no such device", received=asked, allowed="cpu, cuda, cuda:N")
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise MissingDependencyError("no CUDA device", received=asked, allowed="cpu")
    return asked


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
