"""One run at a time in a folder. The lock ends with its holder and the git commands it started."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelkit.errors import ConflictError

# git commands that outlive a killed run end at their next line of progress: nobody reads it.
_PATIENCE_S = 10.0


@contextmanager
def alone_in(folder: Path, patience_s: float = _PATIENCE_S) -> Iterator[int]:
    """Hold `folder` for this run; yields the descriptor that child processes inherit.

    Since they inherit it, a lock that can be had means that no git of an earlier run is left.
    Raises ConflictError where another run holds it for longer than `patience_s`.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _acquire(descriptor, folder, patience_s)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, folder: Path, patience_s: float) -> None:
    import fcntl

    end = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise ConflictError(
                    "another run works in this folder",
                    received=folder,
                    next_step="wait until it has ended, then run this again",
                ) from None
            time.sleep(0.1)
        except OSError:
            return  # a file system without locks
