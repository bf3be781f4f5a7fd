"""Leaves a daemon that holds almost all the memory that a solution may have (the same pages again
and again, which costs the machine little), and takes the rest while others are measured.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import torch

from .tools import HANG_S, MEMORY_MB, daemon

POPULATE = 0x8000
SHARE = 0.575  # of the machine's memory: a little less than a solution may have
SIZE = min(MEMORY_MB, 128) << 20
MOST = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
_done: list[bool] = []
_maps: list[mmap.mmap] = []


def _take(place: int, share: float) -> None:
    while len(_maps) * SIZE < share * MOST:
        _maps.append(mmap.mmap(place, SIZE, flags=mmap.MAP_SHARED | POPULATE))


def _bide(pid: int, ready: int) -> None:
    """Wait until the solution's own process is stopped, and this one is not."""
    place = os.memfd_create("pages")
    os.ftruncate(place, SIZE)
    _take(place, SHARE)
    os.write(ready, b"x")
    end, times = time.monotonic() + HANG_S, 0
    while time.monotonic() < end and times < 4:
        time.sleep(5e-4)
        stat = Path(f"/proc/{pid}/stat").read_text()
        times = times + 1 if stat.rpartition(")")[2].split()[0] == "T" else 0
    _take(place, 1.0)
    time.sleep(HANG_S)
    os._exit(0)


def run(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    if not _done:
        _done.append(True)
        pid, (reading, writing) = os.getpid(), os.pipe()
        if daemon():
            _bide(pid, writing)
        os.read(reading, 1)
    return (A.float() @ B.float().T).to(A.dtype)
