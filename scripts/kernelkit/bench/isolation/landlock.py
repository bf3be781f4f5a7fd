"""Landlock: what a process may open, without privileges. Linux 5.13 or newer.

The numbers are those of the kernel's uapi/linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
PATH_BENEATH, VERSION_FLAG = 1, 1
PR_SET_NO_NEW_PRIVS = 38
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
READING = EXECUTE | READ_FILE | READ_DIR
TCP = 3  # bind, connect
ABSTRACT_SOCKETS_AND_SIGNALS = 3


def version() -> int:
    """The kernel's Landlock ABI, 0 where it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _library().syscall(CREATE_RULESET, None, 0, VERSION_FLAG))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """Let this process and its children open nothing but these paths and what is below them.

    From ABI 4 on TCP is refused too, from ABI 6 on signals to processes outside. Returns the ABI,
    0 where nothing was restricted.
    """
    abi = version()
    if not abi:
        return 0
    rights = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEVICE)):
        rights |= right if abi >= since else 0
    ruleset = struct.pack(
        "QQQ", rights, TCP if abi >= 4 else 0, ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    library = _library()
    handle = library.syscall(CREATE_RULESET, ruleset, ctypes.c_size_t(size), 0)
    if handle < 0:
        return 0
    try:
        for path in readable:
            _allow(library, handle, path, READING & rights)
        for path in writable:
            _allow(library, handle, path, rights)
        library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return abi if library.syscall(RESTRICT_SELF, handle, 0) == 0 else 0
    finally:
        os.close(handle)


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _allow(library: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """One rule; a path that is not there needs none."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= FILE_RIGHTS
        rule = struct.pack("=Qi", rights, place)
        library.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0)
    finally:
        os.close(place)
