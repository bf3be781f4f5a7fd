"""Reservations of GPUs by advisory locks on files in a folder that all users share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.capture.gpus import devices
from kernelkit.capture.gpus.devices import Gpu
from kernelkit.capture.processes.group import GUARD
from kernelkit.errors import DeadlineError, UsageError

VARIABLE = "KERNELKIT_GPU_LOCKS"
POLL_S = 1.0
FREE, LOCKED, BUSY = "free", "reserved", "busy"


def shared_folder() -> Path:
    """The folder of the locks, made with the rights of /tmp: anyone may lock, nobody may remove."""
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "kernelkit-gpu-locks"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(PermissionError):  # another user made it
        folder.chmod(0o1777)
    return folder


def states(gpus: Sequence[Gpu], folder: Path, idle_mb: float) -> list[dict[str, Any]]:
    """Of each GPU: free, reserved (and by whom), or busy (memory in use)."""
    found = []
    for gpu in gpus:
        handle = _try(gpu, folder)
        if handle is None:
            state, detail = LOCKED, _owner(gpu, folder)
        else:
            os.close(handle)
            is_idle = gpu.used_mb <= idle_mb
            state, detail = (FREE if is_idle else BUSY), f"{gpu.used_mb:g} MiB in use"
        found.append({**vars(gpu), "state": state, "detail": detail})
    return found


@dataclass(frozen=True)
class Reservation:
    """GPUs that are held, and the open lock files that hold them."""

    gpus: list[Gpu]
    handles: list[int]


@contextlib.contextmanager
def reserve(
    gpus: Sequence[Gpu],
    count: int,
    folder: Path,
    *,
    idle_mb: float,
    wait_s: float,
    say: Callable[[str], None],
) -> Iterator[Reservation]:
    """Hold `count` idle GPUs; all or none, so that two waiters never hold half each.

    Raises UsageError where there are fewer GPUs at all, DeadlineError where none got free.
    """
    if count > len(gpus):
        raise UsageError("more GPUs than there are", received=count, allowed=f"1 to {len(gpus)}")
    deadline = time.monotonic() + wait_s
    is_told = False
    while not (held := _take(gpus, count, folder, idle_mb)):
        if time.monotonic() >= deadline:
            raise DeadlineError(f"no {count} GPUs got free", received=f"waited {wait_s:g} s",
                                next_step="gpu_lock.py --status shows who holds them")  # fmt: skip
        if not is_told:
            say(f"waiting for {count} free GPUs")
            is_told = True
        time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
        seen = {gpu.identity: gpu for gpu in devices.find()}
        gpus = [seen.get(gpu.identity, gpu) for gpu in gpus]
    try:
        yield Reservation([gpu for gpu, _ in held], [handle for _, handle in held])
    finally:
        for _, handle in held:
            os.close(handle)


def _take(gpus: Sequence[Gpu], count: int, folder: Path, idle_mb: float) -> list[tuple[Gpu, int]]:
    held: list[tuple[Gpu, int]] = []
    for gpu in gpus:
        if len(held) < count and gpu.used_mb <= idle_mb:
            handle = _try(gpu, folder)
            if handle is not None:
                held.append((gpu, handle))
    if len(held) == count:
        for _, handle in held:
            _sign(handle)
        return held
    for _, handle in held:
        os.close(handle)
    return []


def _path(gpu: Gpu, folder: Path) -> Path:
    return folder / (re.sub(r"[^A-Za-z0-9-]", "_", gpu.identity) + ".lock")


def _try(gpu: Gpu, folder: Path) -> int | None:
    """An open, locked file, or None where another holds it. Inherited by the command."""
    path = _path(gpu, folder)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except PermissionError:  # another user's file, made with a strict umask: reading suffices
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with contextlib.suppress(PermissionError):
        os.fchmod(handle, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _sign(handle: int) -> None:
    """Leave who holds it, for --status."""
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        text = f"pid {os.getpid()}, user {os.getuid()}, since {time.strftime('%F %T')}"
        os.pwrite(handle, text.encode(), 0)


def _owner(gpu: Gpu, folder: Path) -> str:
    try:
        return (
            f"by {_path(gpu, folder).read_text(errors='replace').strip() or 'an unknown process'}"
        )
    except OSError:
        return "by another user"


def run(
    command: Sequence[str], taken: Reservation, *, timeout_s: float | None
) -> tuple[int | None, float]:
    """Run `command` on the GPUs; its exit code (None: ended after `timeout_s`) and seconds.

    It is ended with all its descendants also when this process is killed. The guard holds the
    locks too: they are given back only when nothing of the command is left.
    """
    visible = ",".join(gpu.identity for gpu in taken.gpus)
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
    started = time.monotonic()
    guard = subprocess.Popen(
        [sys.executable, "-S", "-E", str(GUARD), "--", *command],
        stdin=subprocess.PIPE, env=env, start_new_session=True, pass_fds=taken.handles,
    )  # fmt: skip
    with _forwarded(guard):
        try:
            code: int | None = guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if guard.stdin is not None:
                guard.stdin.close()
            guard.wait()
    return code, round(time.monotonic() - started, 2)


@contextlib.contextmanager
def _forwarded(guard: subprocess.Popen[bytes]) -> Iterator[None]:
    """SIGTERM to this process ends the command, as an exit does."""

    def stop(number: int, _: object) -> None:
        guard.terminate()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
