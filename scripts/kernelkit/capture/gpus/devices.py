"""GPUs and MIG instances of this host, as nvidia-smi tells them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from kernelkit.errors import MissingDependencyError, UsageError

_QUERY = "index,uuid,name,memory.used,memory.total"
_MIG = re.compile(r"^\s+MIG\s+(\S+)\s+Device\s+\d+:\s+\(UUID:\s*(MIG-\S+)\)", re.M)
_GPU = re.compile(r"^GPU (\d+):", re.M)


@dataclass(frozen=True)
class Gpu:
    """One GPU or MIG instance. `identity`: what CUDA_VISIBLE_DEVICES takes (a UUID)."""

    index: int
    identity: str
    name: str
    used_mb: float  # MiB; of the whole GPU for a MIG instance
    total_mb: float


def find() -> list[Gpu]:
    """All of the host. Raises MissingDependencyError where there is none, or no nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise MissingDependencyError(
            "no GPU: nvidia-smi is not installed", next_step="python scripts/doctor.py"
        )
    gpus = [_row(line) for line in _ask(program, f"--query-gpu={_QUERY}").splitlines() if line]
    if not gpus:
        raise MissingDependencyError("no GPU on this host", next_step="python scripts/doctor.py")
    return [part for gpu in gpus for part in _instances(gpu, _ask(program, None))]


def _ask(program: str, query: str | None) -> str:
    options = ["-L"] if query is None else [query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            [program, *options], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stdout", None) or str(error)
        raise MissingDependencyError("nvidia-smi fails", received=said.strip()[:200]) from None
    return done.stdout


def _row(line: str) -> Gpu:
    index, uuid, name, used, total = [part.strip() for part in line.split(",")]
    return Gpu(int(index), uuid, name, _number(used), _number(total))


def _number(text: str) -> float:
    """MiB; "[N/A]" (unified memory) counts as none in use."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _instances(gpu: Gpu, listing: str) -> list[Gpu]:
    """The MIG instances of a GPU that is cut into such, else the GPU itself."""
    starts = {int(found.group(1)): found.start() for found in _GPU.finditer(listing)}
    begin = starts.get(gpu.index)
    if begin is None:
        return [gpu]
    end = min((start for start in starts.values() if start > begin), default=len(listing))
    parts = _MIG.findall(listing[begin:end])
    return [
        Gpu(gpu.index, uuid, f"{gpu.name} MIG {profile}", 0.0, gpu.total_mb)
        for profile, uuid in parts
    ] or [gpu]


def visible(gpus: Sequence[Gpu], setting: str | None = None) -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES (or `setting`) leaves, in its order; all where it is unset.

    Raises UsageError for an entry that no GPU has, MissingDependencyError where it hides all.
    """
    if setting is None:
        setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return list(gpus)
    chosen = []
    for entry in [part.strip() for part in setting.split(",") if part.strip()]:
        if entry == "-1":
            break
        found = [g for g in gpus if _names(g, entry)]
        if not found:
            raise UsageError("CUDA_VISIBLE_DEVICES names no GPU of this host", received=entry)
        chosen += [gpu for gpu in found if gpu not in chosen]
    if not chosen:
        raise MissingDependencyError("CUDA_VISIBLE_DEVICES hides every GPU", received=setting)
    return chosen


def _names(gpu: Gpu, entry: str) -> bool:
    return int(entry) == gpu.index if entry.isdigit() else gpu.identity.startswith(entry)
