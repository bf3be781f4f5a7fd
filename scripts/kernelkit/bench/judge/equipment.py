"""The verifier's device: its driver, the gate, the flusher, for all definitions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kernelkit.bench import device as devices
from kernelkit.bench.clock import timing

if TYPE_CHECKING:
    from kernelkit.bench.clock.cuda_driver import Driver
    from kernelkit.bench.clock.gate import Gate


class Device:
    """What all definitions share."""

    def __init__(self, device: str) -> None:
        self.name = device
        self.on_cuda = device.startswith("cuda")
        self.driver: Driver | None = None
        self.gate: Gate | None = None
        if self.on_cuda:
            from kernelkit.bench.clock.cuda_driver import Driver
            from kernelkit.bench.clock.gate import Gate

            devices.open_cuda(device)
            self.driver = Driver()
            self.gate = Gate(self.driver, device)
        self.flusher = timing.Flusher(device)

    def free_bytes(self) -> int:
        """Memory that nobody uses."""
        import torch

        if self.on_cuda:
            return torch.cuda.mem_get_info()[0]
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")

    def wait(self) -> None:
        """Wait for all work of this process."""
        if self.driver is not None:
            self.driver.call("cuCtxSynchronize")
