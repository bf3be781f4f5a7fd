"""What a solution's process gives up before it loads the solution.

Everything here works without privileges and is used where the kernel has it; what took hold is
named in the trace. Run as root, the process also gets a user of its own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from kernelkit import places
from kernelkit.bench.isolation import landlock, seccomp

MEBIBYTE = 1 << 20
SYSTEM_FOLDERS = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc", "/opt", "/proc",
                  "/sys", "/dev", "/run/nvidia-persistenced", "/nix/store")  # fmt: skip
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
MEASURES = ("own session", "resource limits", "no network", "own user", "landlock", "seccomp")
NOBODY = 61_000  # users from here on are nobody's
BLOCKS, BLOCK = 62, 64  # of users; a block is one nursery's, and holds more than it has processes
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CPATH",
             "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES",
             "NVIDIA_DRIVER_CAPABILITIES", "TRITON_INTERPRET", "TORCH_CUDA_ARCH_LIST",
             "FLASHINFER_DISABLE_VERSION_CHECK", "OMP_NUM_THREADS", "PYTHONPATH",
             "PYTHONDONTWRITEBYTECODE", "TZ", "SSL_CERT_FILE")  # fmt: skip

# What the process that they are forked from needs besides: where Python finds its packages.
FOR_THE_NURSERY = ("HOME", "TMPDIR", "PYTHONUSERBASE", "PYTHONHOME", "LD_PRELOAD")


def nursery_environment() -> dict[str, str]:
    """The variables of the process that solutions' processes are forked from. A fork can read
    what its parent was started with (/proc/self/environ), whatever it deletes: so no secret of
    the user's may be among them."""
    names = (*PASSED_ON, *FOR_THE_NURSERY)
    return {name: os.environ[name] for name in names if name in os.environ}


def environment(home: Path) -> dict[str, str]:
    """The variables of a solution's process: few, and all caches below `home`."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    cache = home / ".cache"
    return {
        **kept,
        "HOME": str(home),
        "LOGNAME": "solution",  # its user stands in no table: whoever asks for its name reads this
        "USER": "solution",
        "TMPDIR": str(home / "tmp"),
        "XDG_CACHE_HOME": str(cache),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "TORCH_EXTENSIONS_DIR": str(cache / "torch_extensions"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "CUDA_CACHE_PATH": str(cache / "cuda"),
        "FLASHINFER_WORKSPACE_BASE": str(home),
        "HF_HUB_OFFLINE": "1",
    }


def user_for(number: int, folder: Path) -> int | None:
    """The user of that number, for a process in `folder`: only root can give one, and only where
    the folder and the libraries of this environment can be reached by others."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    folders = {folder, Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path)}
    if not all(_open_to_all(folder) for folder in folders if folder.is_dir()):
        return None
    return NOBODY + number


class Users:
    """Users of one nursery's own, each for one process at a time: all processes of a user are
    killed with it, so that no other, of any nursery of this machine, may have the same."""

    def __init__(self) -> None:
        self.held: socket.socket | None = None
        self.first = os.getpid() * 7 % (BLOCKS * BLOCK - BLOCK)  # where none can be reserved
        self.lent: set[int] = set()
        self.lock = threading.Lock()
        for block in range(BLOCKS):
            if (held := _reserve(f"kernelkit-users-{block}")) is not None:
                self.held, self.first = held, block * BLOCK
                return

    def lend(self, number: int, folder: Path) -> int | None:
        """A user for the process of that number; see `user_for`."""
        with self.lock:
            for step in range(BLOCK):
                user = user_for(self.first + (number + step) % BLOCK, folder)
                if user is None or user not in self.lent:
                    break
            if user is not None:
                self.lent.add(user)
            return user

    def take_back(self, users: Iterable[int | None]) -> None:
        """Their processes have ended."""
        with self.lock:
            self.lent.difference_update(users)

    def close(self) -> None:
        """Let another nursery have them."""
        if self.held is not None:
            self.held.close()


def _reserve(name: str) -> socket.socket | None:
    """A name that one process of the machine holds at a time, up to its end; None: taken."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0{name}")
    except OSError:  # taken, or a system without such names
        held.close()
        return None
    return held


def _open_to_all(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in [folder, *folder.resolve().parents])


def limit_resources(*, file_mb: int, processes: int) -> None:
    """Limits on file size, processes (of the process's user) and core dumps."""
    import resource

    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: file_mb * MEBIBYTE}
    if os.geteuid() >= NOBODY:  # the limit counts all processes of the user
        limits[resource.RLIMIT_NPROC] = processes
    for kind, most in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (most, most))


def be_ended_first() -> None:
    """Where memory runs out, let the system end this process and its children before all others:
    it may hold memory that no limit here sees (files without a name)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def leave_network() -> bool:
    """Move to an empty network namespace, where that is allowed."""
    import ctypes

    clone_newnet = 0x40000000
    try:
        return ctypes.CDLL(None, use_errno=True).unshare(clone_newnet) == 0
    except AttributeError:
        return False


def become(user: int) -> None:
    """Drop all privileges for those of `user`."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def drop_capabilities() -> None:
    """Without them root is a user like others, who merely owns root's files."""
    import ctypes

    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    pr_capbset_drop, version_3 = 24, 0x20080522
    for number in range(64):
        library.prctl(pr_capbset_drop, number, 0, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(version_3, 0), (ctypes.c_uint32 * 6)()
    library.capset(ctypes.byref(header), ctypes.byref(nothing))


def restrict(folder: Path) -> list[str]:
    """Landlock and seccomp: nothing but libraries is read, nothing but `folder` is written, no
    internet, no signal to others. Returns the names of what took hold."""
    libraries = [Path(sys.prefix), Path(sys.base_prefix)]
    libraries += [Path(p) for p in sys.path if p and Path(p) != places.HIDDEN]
    drop_capabilities()
    devices = [Path("/dev") / name for name in DEVICES]
    devices += [*Path("/dev").glob("nvidia*"), *Path("/dev").glob("nvidia-caps/*")]
    readable = [*map(Path, SYSTEM_FOLDERS), *libraries]
    names = []
    abi = landlock.restrict(readable, [folder, *devices])
    if abi:
        names.append(f"landlock ABI {abi}")
    own_user = os.geteuid() >= NOBODY
    if seccomp.install(allow_signals=own_user or abi >= 6, own_user=own_user):
        names.append("seccomp")
    return names
