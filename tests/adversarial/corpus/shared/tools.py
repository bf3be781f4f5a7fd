"""What entries of the corpus share: bounds, marks, honest computations, ways around a process.

The dataset builder fills in the constants, and puts this file beside every entry that imports it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch

MARKS = "@MARKS@"
PLACES = "@PLACES@"  # a folder with what no entry may touch: home, victim, sockets
DATASET = "@DATASET@"
SCRIPTS = "@SCRIPTS@"
HANG_S = float("@HANG_S@")
MEMORY_MB = int("@MEMORY_MB@")
SERVERS: dict[str, list[Any]] = json.loads("""@SERVERS@""")

_marked: set[str] = set()
libc = ctypes.CDLL(None, use_errno=True)


def mark(name: str, text: object = "") -> None:
    """Say once that something was reached which must be out of reach: in a file, and in print."""
    if name in _marked:
        return
    _marked.add(name)
    try:
        with open(f"{MARKS}/{name}.mark", "a") as file:
            file.write(f"{text}\n")
    except OSError:
        pass
    os.write(1, f"\nMARK {name}; {text}\n".encode())


def rmsnorm(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The honest result."""
    x = hidden_states.to(torch.float32)
    scale = torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + 1e-6)
    return (x * scale * weight.to(torch.float32)).to(hidden_states.dtype)


def hang() -> None:
    """Sleep as long as a hang may last, in steps that signals can interrupt."""
    end = time.monotonic() + HANG_S
    while time.monotonic() < end:
        time.sleep(min(1.0, HANG_S))


def frames() -> Iterator[FrameType]:
    """The callers of the caller, up to the process's first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def found(kind: str) -> list[Any]:
    """All objects whose class has that name: of the callers' variables, and of the collector."""
    held = [value for frame in frames() for value in list(frame.f_locals.values())]
    unique = {id(o): o for o in [*held, *gc.get_objects()] if type(o).__name__ == kind}
    return list(unique.values())


def descriptors() -> list[int]:
    """The open descriptors above standard error."""
    try:
        return sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and _open(fd))
    except OSError:
        return [fd for fd in range(3, 256) if _open(fd)]


def _open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def channels() -> list[int]:
    """Descriptors that somebody may listen to."""
    kinds = (stat.S_ISFIFO, stat.S_ISSOCK)
    return [fd for fd in descriptors() if any(kind(os.fstat(fd).st_mode) for kind in kinds)]


def write_all(descriptor: int, data: bytes) -> None:
    """Write without waiting for a reader."""
    try:
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            with socket.socket(fileno=os.dup(descriptor)) as end:
                end.send(data, socket.MSG_DONTWAIT)
        else:
            os.set_blocking(descriptor, False)
            os.write(descriptor, data)
    except OSError:
        pass


def ancestors() -> list[int]:
    """Parents of this process that belong to the evaluator: nearest first, never further up."""
    pids, pid = [], os.getpid()
    while (pid := _parent(pid)) > 1:
        command = _read(f"/proc/{pid}/cmdline")
        if b"kernelkit" not in command and b"bench.py" not in command:
            break
        pids.append(pid)
    return pids


def siblings() -> list[int]:
    """Other children of this process's parent, and of its parent's parent."""
    near = ancestors()[:2]
    every = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [pid for pid in every if pid != os.getpid() and near and _parent(pid) in near]


def _parent(pid: int) -> int:
    try:
        return int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1])
    except (IndexError, ValueError):
        return 0


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def daemon() -> bool:
    """Fork twice; True in a process without a parent of this kind, False in the caller's."""
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    return True


def shared_ranges() -> list[tuple[int, int]]:
    """Addresses [start, end) of writable memory that is shared with other processes."""
    ranges = []
    for line in _read("/proc/self/maps").decode("utf-8", "replace").splitlines():
        place, rights = line.split()[:2]
        if rights.startswith("rw") and rights.endswith("s"):
            start, end = (int(part, 16) for part in place.split("-"))
            ranges.append((start, end))
    return ranges
