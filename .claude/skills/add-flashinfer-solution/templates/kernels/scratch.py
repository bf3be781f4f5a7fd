"""Scratch memory of split work, and the size of the machine that it is split for."""

import functools

import torch

MOST_SPLIT = 8


class Workspace:
    """Scratch of one device and stream: partial results, and counters of how many have arrived
    (zero between calls)."""

    def __init__(self, device: torch.device) -> None:
        self.parts = torch.empty(0, dtype=torch.float32, device=device)
        self.arrived = torch.zeros(0, dtype=torch.int32, device=device)

    def reserve(self, parts: int, arrived: int) -> None:
        """At least so many numbers."""
        if self.parts.shape[0] < parts:
            self.parts = torch.empty(parts, dtype=torch.float32, device=self.parts.device)
        if self.arrived.shape[0] < arrived:
            self.arrived = torch.zeros(arrived, dtype=torch.int32, device=self.parts.device)


WORKSPACES: dict[tuple[torch.device, int], Workspace] = {}


def workspace(device: torch.device) -> Workspace:
    """The workspace of the device's current stream: calls of one stream follow each other."""
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    if (device, stream) not in WORKSPACES:
        WORKSPACES[device, stream] = Workspace(device)
    return WORKSPACES[device, stream]


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """The device's multiprocessors; 2 for a CPU (Triton's interpreter), so that work is split."""
    if device.type != "cuda":
        return 2
    return torch.cuda.get_device_properties(device).multi_processor_count


def split_of(steps: int, tiles: int, blocks: float, wanted: int) -> int:
    """Programs that share a tile's columns, a power of two: `wanted` programs have work then."""
    split = 1
    while 2 * split <= min(steps, MOST_SPLIT) and tiles * blocks * split * 2 <= wanted:
        split *= 2
    return split
