"""What a solution has compiled is kept for the next run of the same solution, and for no other.

The key is a hash over every field that decides about a build. A cache is written by the solution's
own process and read by nobody else. FlashInfer's own cache, which the user has filled, is copied
in for solutions that use FlashInfer: its kernels take minutes to compile. With a seed that the
user gives nothing is kept or brought: with contents that repeat, a file could hold answers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kernelkit.bench.isolation.processes import SolutionProcess
from kernelkit.bench.limits.ceilings import user_cache
from kernelkit.bench.selection import key
from kernelkit.bench.settings import Settings
from kernelkit.dataset.solution import Solution

MOST_BYTES = 1 << 30  # of one solution's cache
FLASHINFER = "flashinfer"


def bring(solution: Solution, process: SolutionProcess, settings: Settings) -> None:
    """Copy into the process's folder what is kept for its solution."""
    target = process.folder / ".cache"
    if any(FLASHINFER in source.content for source in solution.sources):
        base = os.environ.get("FLASHINFER_WORKSPACE_BASE") or Path.home()
        _copy(Path(base) / ".cache" / FLASHINFER, target / FLASHINFER, process.user)
    if settings.seed_is_drawn:
        _copy(_kept(solution, settings), target, process.user)


def keep(solution: Solution, process: SolutionProcess | None, settings: Settings) -> None:
    """Keep what the process has compiled, unless as much is kept. Failing to is no error."""
    if process is None or not settings.seed_is_drawn:
        return
    target, source = _kept(solution, settings), process.folder / ".cache"
    names = [entry for entry in _files(source) if FLASHINFER not in entry.relative_to(source).parts]
    size = sum(entry.lstat().st_size for entry in names)
    kept = sum(1 for _ in _files(target))  # each workload may have compiled for its own shapes
    if len(names) <= kept or size > MOST_BYTES:
        return
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as made:
            for entry in names:
                place = Path(made) / "cache" / entry.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(entry, place, follow_symlinks=False)
            if kept:
                target.rename(Path(made) / "before")
            (Path(made) / "cache").rename(target)


def _kept(solution: Solution, settings: Settings) -> Path:
    kind = settings.device.partition(":")[0]
    return user_cache() / "builds" / f"{key(solution)}-{kind}"


def _files(folder: Path) -> Iterator[Path]:
    """The regular files below a folder; what links elsewhere is left alone."""
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (Path(top) / name).is_symlink()]
        for name in names:
            path = Path(top) / name
            with contextlib.suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def _copy(source: Path, target: Path, user: int | None) -> None:
    """Copy a folder's files, owned by `user`."""
    for path in _files(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        os.chmod(place, 0o755)
    if user is not None and target.exists():
        for path in [target, *target.rglob("*")]:
            os.chown(path, user, user, follow_symlinks=False)
