"""Make the environment of a lock, whole or not at all.

It is made in `PATH.<digest>` beside PATH, which becomes a link to it once everything is installed
and was seen to import. So nothing half-made ever stands under PATH, an older environment serves
until the new one is ready, and a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernelkit import cli
from kernelkit.dataset import atomic
from kernelkit.errors import MissingDependencyError, UsageError
from kernelkit.machine.environments import contents, filling
from kernelkit.machine.environments.request import MADE, PLANNED, STAMP, THERE, Request, Result


def plan(request: Request) -> Result:
    """What `make` would do now; nothing is written. Raises what `make` raises before it writes."""
    _refuse_foreign(request.path)
    if _is_ready(request):
        return Result(THERE, request, [])
    venv = [] if filling.python_runs(request) else [filling.venv(request)]
    wanted = contents.missing(request.build, request.lock.pins)
    return Result(
        PLANNED, request, [*venv, *filling.installs(request, wanted), filling.check(request)]
    )


def make(request: Request) -> Result:
    """Make the environment, or finish it, or find it there.

    Raises UsageError where something else has the path, MissingDependencyError where a package
    cannot be had, DeadlineError at the limit of a step.
    """
    _refuse_foreign(request.path)
    with _held(request.build):
        if _is_ready(request):
            return Result(THERE, request, [])
        _refuse_full_disk(request)
        _take_down(request)
        done = [] if filling.python_runs(request) else [filling.start(request)]
        for name in contents.sweep(request.build):
            cli.say(f"{name} was half installed; it is installed again")
        done += filling.install(request)
        notes = filling.verify(request)
        result = Result(MADE, request, done, [*notes, *_older(request)])
        atomic.write_text(request.build / STAMP, json.dumps(result.to_json(), indent=2) + "\n")
        shutil.rmtree(filling.temporary(request), ignore_errors=True)
        _link(request)
    return result


def _take_down(request: Request) -> None:
    """An environment that lost packages is not to be had under its name while it is mended."""
    (request.build / STAMP).unlink(missing_ok=True)
    if request.path.is_symlink() and os.readlink(request.path) == request.build.name:
        request.path.unlink()


def _refuse_foreign(path: Path) -> None:
    """A folder or a link that this module did not make is never touched."""
    ours = path.is_symlink() and os.readlink(path).startswith(f"{path.name}.")
    if ours or not (path.is_symlink() or path.exists()):
        return
    raise UsageError(
        "--path is taken by something that setup_env.py did not make", received=path,
        next_step="name another path, or remove it yourself",
    )  # fmt: skip


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The build folder, with a lock on it: a second run waits and then finds the work done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"cannot write there: {error.strerror}", received=folder) from None
    try:
        with atomic.locked(descriptor):
            yield
    finally:
        os.close(descriptor)


def _is_ready(request: Request) -> bool:
    """Linked, stamped when it was verified, its Python runs, and no package has gone since."""
    return (
        request.path.is_symlink()
        and os.readlink(request.path) == request.build.name
        and (request.build / STAMP).is_file()
        and filling.python_runs(request)
        and not contents.missing(request.build, request.lock.pins)
    )


def _refuse_full_disk(request: Request) -> None:
    free_gb = shutil.disk_usage(request.build).free / 1e9
    held = contents.missing(request.build, request.lock.pins)
    if len(held) == len(request.lock.pins) and free_gb < request.lock.disk_gb:
        raise MissingDependencyError(
            f"the environment takes about {request.lock.disk_gb:g} GB",
            received=f"{free_gb:.1f} GB free at {request.build.parent}",
            next_step="free some space, or name a path on another disk with --path",
        )


def _older(request: Request) -> list[str]:
    """Folders of earlier locks: another process may still run from them, so they stay."""
    pattern = f"{request.path.name}.*/{STAMP}"
    return [
        f"{stamp.parent} is of an earlier lock or Python; remove it when nothing uses it"
        for stamp in sorted(request.path.parent.glob(pattern))
        if stamp.parent != request.build
    ]


def _link(request: Request) -> None:
    """Put the link in place of the old one, at once."""
    temporary = request.path.with_name(f"{request.build.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(request.build.name)
    os.replace(temporary, request.path)
