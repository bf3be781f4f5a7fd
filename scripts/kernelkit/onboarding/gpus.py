"""Whether this machine has a GPU, and why not."""

from __future__ import annotations

from kernelkit.bench.device import gpu_count

NONE_HERE = "no NVIDIA GPU on this machine"


def has_gpu() -> bool:
    """Whether the CUDA driver shows a device."""
    return gpu_count() > 0
