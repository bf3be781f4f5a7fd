"""Disk: how much a run may need, and the end of it before the disk is full."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.errors import KernelkitError

GIB = 1 << 30
CHECK_EVERY = 10  # calls of `check` to one measurement


class DiskLimitError(KernelkitError):
    """The run's folder has grown to its limit, or the disk is nearly full."""


@dataclass
class DiskBudget:
    """Watches a folder: at most `limit_bytes` in it, and `keep_free_bytes` left on its disk."""

    folder: Path
    limit_bytes: int = 20 * GIB
    keep_free_bytes: int = 2 * GIB
    used_bytes: int = 0
    _calls: int = field(default=0, repr=False)

    def check(self, *, now: bool = False) -> None:
        """Raises DiskLimitError; measures at every tenth call, or `now`."""
        self._calls += 1
        if not now and self._calls % CHECK_EVERY:
            return
        self.used_bytes = size_of(self.folder)
        free = free_bytes(self.folder)
        if self.used_bytes > self.limit_bytes:
            raise DiskLimitError(
                "the run's folder has reached its limit",
                received=f"{self.used_bytes / GIB:.2f} GiB in {self.folder}",
                allowed=f"{self.limit_bytes / GIB:g} GiB (--max-disk-gb)",
                next_step="what was recorded is kept: run again with --resume and a larger limit",
            )
        if free < self.keep_free_bytes:
            raise DiskLimitError(
                "the disk is nearly full", received=f"{free / GIB:.2f} GiB free",
                allowed=f"at least {self.keep_free_bytes / GIB:g} GiB",
                next_step="free some space and run again with --resume",
            )  # fmt: skip

    def summary(self) -> str:
        """Used and free, for the progress line."""
        self.used_bytes = size_of(self.folder)
        return (
            f"{self.used_bytes / 1e6:.1f} MB recorded, {free_bytes(self.folder) / GIB:.1f} GiB free"
        )


def size_of(folder: Path) -> int:
    """Bytes of all files below; a file that vanishes meanwhile counts as none."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue
    return total


def free_bytes(folder: Path) -> int:
    """Free on the folder's disk; of the nearest folder that exists."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def estimate_bytes(steps: int, requests: int, mean_tokens: int, layers: int) -> dict[str, int]:
    """Upper bounds of what a run writes: by the recorder, and by level 10.

    Recorder: indices of 4 bytes a token once a step, and about 400 bytes a step for the records.
    Level 10: in every layer the KV pool of at least the tokens, 2 tensors of 2 KiB a token (8 heads
    of 128 in 16 bits), and 30 KB for the files of its calls.
    """
    tokens = requests * mean_tokens
    return {
        "recorder": steps * (4 * tokens + 400),
        "level10": steps * layers * (tokens * 4096 + 30_000),
    }
