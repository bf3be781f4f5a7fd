"""The machine itself: Python, cores, memory, disk, GPUs, and what it can reach."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kernelkit.machine.facts import ABSENT, BROKEN, OK, UNKNOWN, Fact, run

GROUP = "machine"
PYTHONS = ((3, 10), (3, 12))  # the first and the last that are supported
_SECONDS = 20.0
_REACH_S = 3.0
_HOSTS = (("github", "github.com"), ("hub", "huggingface.co"))
_GPU_FIELDS = "name,driver_version,memory.total,compute_cap"


def probes(target: Path) -> list[tuple[str, Callable[[], list[Fact]]]]:
    """One probe for each part of the machine."""
    hosts = [(name, lambda name=name, host=host: [reach(name, host)]) for name, host in _HOSTS]
    return [
        ("python", lambda: [python()]),
        ("cores", lambda: [cores()]),
        ("memory", lambda: [memory()]),
        ("disk", lambda: [disk(target)]),
        ("gpu", lambda: [gpu()]),
        *hosts,
    ]


def python() -> Fact:
    """This interpreter, and whether the pack supports its version."""
    known = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    where = f"{sys.executable}{'' if sys.prefix != sys.base_prefix else ' (no environment)'}"
    why = where if known else f"{where}: Python 3.10 to 3.12 is needed"
    return Fact(GROUP, "python", OK if known else BROKEN, platform.python_version(), why)


def cores() -> Fact:
    """Cores that this process may use, under the limit of its container."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _first_line("/sys/fs/cgroup/cpu.max").split()
    limit = f", limited to {int(quota[0]) / int(quota[1]):g}" if _is_number(quota) else ""
    return Fact(GROUP, "cores", OK, str(count), f"{platform.system()} {platform.machine()}{limit}")


def memory() -> Fact:
    """Memory in GB: all, free, and the limit of the container."""
    kib = _meminfo()
    total = kib.get("MemTotal", 0) * 1024 or os.sysconf("SC_PAGE_SIZE") * os.sysconf(
        "SC_PHYS_PAGES"
    )
    free = f"{kib['MemAvailable'] * 1024 / 1e9:.1f} GB free" if "MemAvailable" in kib else ""
    limit = _first_line("/sys/fs/cgroup/memory.max")
    capped = f"limited to {int(limit) / 1e9:.1f} GB" if limit.isdigit() else ""
    detail = ", ".join(part for part in (free, capped) if part)
    return Fact(GROUP, "memory", OK, f"{total / 1e9:.1f} GB", detail)


def disk(target: Path) -> Fact:
    """Free space where checkouts, caches and temporary files go."""
    places = {
        "checkouts": target.absolute(),
        "home": Path.home(),
        "temporary": tempfile.gettempdir(),
    }
    free = {name: shutil.disk_usage(_existing(Path(p))).free / 1e9 for name, p in places.items()}
    detail = ", ".join(f"{name} {gigabytes:.1f} GB" for name, gigabytes in free.items())
    return Fact(GROUP, "disk", OK, f"{free['checkouts']:.1f} GB free", detail)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def gpu() -> Fact:
    """The NVIDIA GPUs that the driver shows."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Fact(GROUP, "gpu", ABSENT, detail="no nvidia-smi, so no NVIDIA driver")
    words = [program, f"--query-gpu={_GPU_FIELDS}", "--format=csv,noheader,nounits"]
    answer = run(words, _SECONDS)
    rows = [line.split(", ") for line in answer.out.splitlines() if line.count(", ") >= 3]
    if answer.code != 0 or not rows:
        why = answer.last if answer.code is not None else f"no answer in {_SECONDS:g} s"
        return Fact(GROUP, "gpu", BROKEN, detail=f"nvidia-smi: {why}")
    shown = [f"{name}, {_gib(mib)}, compute {cap}" for name, _, mib, cap in rows]
    detail = shown[0] if len(set(shown)) == 1 else "; ".join(shown)
    return Fact(GROUP, "gpu", OK, f"{len(rows)}, driver {rows[0][1]}", detail)


def _gib(mib: str) -> str:
    """A GPU's memory; some share the host's and tell none."""
    return f"{float(mib) / 1024:.0f} GiB" if mib.replace(".", "").isdigit() else "memory unknown"


def reach(name: str, host: str) -> Fact:
    """Whether the host answers on its HTTPS port. Behind a proxy that is not known."""
    proxy = next((p for p in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY") if os.environ.get(p)), "")
    if proxy:
        return Fact(GROUP, name, UNKNOWN, detail=f"{host} through {proxy}: not tried")
    try:
        socket.create_connection((host, 443), timeout=_REACH_S).close()
    except OSError as error:
        return Fact(GROUP, name, ABSENT, detail=f"{host} cannot be reached: {error}")
    return Fact(GROUP, name, OK, detail=host)


def _meminfo() -> dict[str, int]:
    """/proc/meminfo in KiB; empty where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    pairs = (line.replace(" kB", "").split(":") for line in lines)
    return {key: int(value) for key, value in pairs if value.strip().isdigit()}


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _is_number(quota: list[str]) -> bool:
    return len(quota) == 2 and all(part.isdigit() for part in quota)
