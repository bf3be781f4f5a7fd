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

MOST_BYTES, MOST_FILES = 1 << 30, 10_000  # of one solution's cache
MOST_DEPTH = 32  # of its folders
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
    with contextlib.suppress(OSError):
        sizes = [os.fstat(file).st_size for path, file in _files(source) if _is_own(path)]
        kept = sum(1 for _ in _files(target))  # each workload may have compiled for its own shapes
        if not kept < len(sizes) <= MOST_FILES or sum(sizes) > MOST_BYTES:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as made:
            for path, file in _files(source):
                if _is_own(path):
                    _write(file, Path(made) / "cache" / path)
            if kept:
                target.rename(Path(made) / "before")
            (Path(made) / "cache").rename(target)


def _kept(solution: Solution, settings: Settings) -> Path:
    kind = settings.device.partition(":")[0]
    return user_cache() / "builds" / f"{key(solution)}-{kind}"


def _is_own(path: Path) -> bool:
    return FLASHINFER not in path.parts


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """The regular files below a folder, by their path from there, each open for reading.

    No link is followed: not one that lies there, nor one that takes the folder's own place. A
    solution makes them, and what they lead to is read with this process's rights.
    """
    with _opened(folder) as (top, mode):
        if stat.S_ISDIR(mode):
            yield from _below(top, Path(), MOST_DEPTH)


def _below(folder: int, path: Path, depth: int) -> Iterator[tuple[Path, int]]:
    for name in os.listdir(folder):
        with _opened(name, folder) as (file, mode):
            if stat.S_ISREG(mode):
                yield path / name, file
            elif stat.S_ISDIR(mode) and depth:
                yield from _below(file, path / name, depth - 1)


@contextlib.contextmanager
def _opened(name: str | Path, folder: int | None = None) -> Iterator[tuple[int, int]]:
    """A descriptor and its mode; of the null device for what is no file or folder."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(name, flags, dir_fd=folder)
    except OSError:
        file = os.open(os.devnull, flags)
    try:
        yield file, os.fstat(file).st_mode
    finally:
        os.close(file)


def _write(file: int, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "rb", closefd=False) as source, open(place, "wb") as target:
        shutil.copyfileobj(source, target)


def _copy(source: Path, target: Path, user: int | None) -> None:
    """Copy a folder's files, owned by `user`. The folder itself may be a link: the user's cache."""
    for path, file in _files(source.resolve()):
        _write(file, target / path)
        os.chmod(target / path, 0o755)
    if user is not None and target.exists():
        for path in [target, *target.rglob("*")]:
            os.chown(path, user, user, follow_symlinks=False)
