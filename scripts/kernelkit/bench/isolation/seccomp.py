"""A seccomp filter without privileges: no internet sockets, no hands on other processes.

Built by hand as classic BPF: a few dozen instructions need no library. Linux on x86-64 and
64-bit Arm; elsewhere `install` says that there is none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16  # offsets in seccomp_data
AF_INET, AF_INET6, AF_PACKET, AF_VSOCK = 2, 10, 17, 40
X32 = 0x40000000  # system calls of the x32 ABI

# audit architecture, then system call numbers
MACHINES = {
    "x86_64": (0xC000003E, {
        "socket": 41, "kill": 62, "ptrace": 101, "tkill": 200, "rt_sigqueueinfo": 129,
        "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_send_signal": 424,
        "pidfd_getfd": 438, "connect": 42, "prlimit64": 302, "setpriority": 141,
        "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setparam": 142,
        "io_uring_setup": 425, "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240,
        "add_key": 248, "request_key": 249, "keyctl": 250,
    }),
    "aarch64": (0xC00000B7, {
        "socket": 198, "kill": 129, "ptrace": 117, "tkill": 130, "rt_sigqueueinfo": 138,
        "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_send_signal": 424,
        "pidfd_getfd": 438, "connect": 203, "prlimit64": 261, "setpriority": 140,
        "sched_setaffinity": 122, "sched_setscheduler": 119, "sched_setparam": 118,
        "io_uring_setup": 425, "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180,
        "add_key": 217, "request_key": 218, "keyctl": 219,
    }),
}  # fmt: skip
# connect: Landlock does not know Unix sockets that lie as files elsewhere. io_uring: what it is
# asked for (sockets among it) passes no filter of system calls. The kernel's own memory, queues and
# keyrings outlive a process and have no path: one solution could leave answers there for another.
REFUSED = ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "connect",
           "io_uring_setup", "shmget", "semget", "msgget", "mq_open", "add_key", "request_key",
           "keyctl")  # fmt: skip
OTHERS = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam")
SIGNALS = ("kill", "tkill", "rt_sigqueueinfo", "pidfd_send_signal")

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install(*, allow_signals: bool, own_user: bool = False) -> bool:
    """Put the filter on this process and its children. False where the kernel has none.

    Without `allow_signals`, a process can signal itself only. Without a user of its own, it can
    change limits and priorities of itself only: other processes of the user are not its.
    """
    machine = MACHINES.get(platform.machine())
    if not sys.platform.startswith("linux") or machine is None:
        return False
    code = b"".join(
        struct.pack("HBBI", *step) for step in program(*machine, allow_signals, own_user)
    )
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    made = _Program(len(code) // 8, code)
    return library.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(made), 0, 0) == 0


def program(
    architecture: int, numbers: dict[str, int], allow_signals: bool, own_user: bool = True
) -> list[Instruction]:
    """The filter's instructions (code, jump if true, jump if false, constant)."""
    refuse = (RETURN, 0, 0, ERRNO | errno.EPERM)
    steps: list[Instruction] = [
        (LOAD, 0, 0, ARCH),
        (EQUAL, 1, 0, architecture),
        refuse,
        (LOAD, 0, 0, NUMBER),
    ]
    if architecture == MACHINES["x86_64"][0]:
        steps += [(AT_LEAST, 0, 1, X32), refuse]
    for name in REFUSED:
        steps += [(EQUAL, 0, 1, numbers[name]), refuse]
    families = (AF_INET, AF_INET6, AF_PACKET, AF_VSOCK)
    test = [(LOAD, 0, 0, FIRST_ARGUMENT)]
    for left, family in enumerate(reversed(families)):
        test.insert(1, (EQUAL, left + 1, 0, family))
    steps += [(EQUAL, 0, len(test) + 2, numbers["socket"]), *test, (RETURN, 0, 0, ALLOW), refuse]
    guarded = [(name, 0) for name in SIGNALS] if not allow_signals else []
    guarded += [] if own_user else [*((name, 0) for name in OTHERS), ("setpriority", 1)]
    for name, argument in guarded:  # a process, or zero for oneself
        own = [
            (LOAD, 0, 0, FIRST_ARGUMENT + 8 * argument),
            (EQUAL, 2, 0, os.getpid()),
            (EQUAL, 1, 0, 0),
            refuse,
            (RETURN, 0, 0, ALLOW),
        ]
        steps += [(EQUAL, 0, len(own), numbers[name]), *own]
    return [*steps, (RETURN, 0, 0, ALLOW)]
