"""Bring one repository: clone it, move it, or say why not."""

from __future__ import annotations

import time

from kernelkit.errors import KernelkitError, MissingDependencyError, UsageError
from kernelkit.sources import blobs, submodules
from kernelkit.sources import checkout as state
from kernelkit.sources.checkout import Checkout
from kernelkit.sources.cloning import clone
from kernelkit.sources.git import GitError
from kernelkit.sources.interrupted import announced, mend
from kernelkit.sources.moving import RefusedError, commit_of, fetch, few, move, plan
from kernelkit.sources.outcome import FAILED, KEPT, REFUSED, Outcome
from kernelkit.sources.rehearsal import rehearse
from kernelkit.sources.remote import Remote, Wanted
from kernelkit.sources.task import Task


def bring(task: Task) -> None:
    """Do the task. Its failure is part of its outcome, not an exception."""
    start = time.monotonic()
    try:
        _bring(task)
    except (KernelkitError, OSError) as error:
        _fail(task.outcome, error)
    task.outcome.seconds = round(time.monotonic() - start, 3)


def _bring(task: Task) -> None:
    here = task.look()
    if task.request.offline:
        return _offline(task, here)
    if here is not None and not task.request.dry_run:
        here = _mended(task, here)
    task.outcome.url = task.url(here)
    remote = task.remote(task.outcome.url)
    wanted = task.wanted(here, remote)
    if task.request.dry_run:
        return rehearse(task, here, wanted)
    if wanted is None:
        task.outcome.action = KEPT
    elif here is None:
        clone(task, remote, wanted)
    else:
        _update(task, here, remote, wanted)
    if here is not None:
        _submodules(task)
    _blobs(task)


def _offline(task: Task, here: Checkout | None) -> None:
    if here is None or here.head is None:
        raise UsageError("not cloned, and --offline fetches nothing", received=task.path)
    task.outcome.action = KEPT


def _mended(task: Task, here: Checkout) -> Checkout:
    """The checkout after what a killed run left is put right."""
    if mend(task.git, here, discard=task.request.force):
        task.note("an earlier run was cut off here; its traces are removed")
        if task.request.submodules:
            submodules.remove_unfinished(task.git, here)
    return task.look() or here


def _update(task: Task, here: Checkout, remote: Remote, wanted: Wanted) -> None:
    git, path = task.git, here.path
    task.outcome.before = here.head
    if wanted.sha is None or not state.has_commit(git, path, wanted.sha):
        depth = _depth(task, here, wanted)
        with announced(here, None):
            task.again(lambda: fetch(git, path, remote, wanted, task.watch.progress, depth))
    sha = commit_of(git, path, wanted)
    move(git, plan(git, here, wanted, sha), task.outcome, force=task.request.force)


def _depth(task: Task, here: Checkout, wanted: Wanted) -> int | None:
    """A shallow checkout stays shallow: another branch comes with the asked depth, else 1.

    The branch that is there is fetched without one: git then brings what lies between.
    """
    if not here.shallow or wanted.kind == "part":
        return None
    known = f"refs/remotes/origin/{wanted.name}"
    words = ("show-ref", "--verify", "--quiet", known)
    if wanted.branch and task.git.true(*words, at=here.path):
        return None
    return task.request.depth or 1


def _submodules(task: Task) -> None:
    git, path, force = task.git, task.path, task.request.force
    if not submodules.declared(path):
        return
    if not task.request.submodules:
        if left := submodules.stale(git, path):
            task.note(f"submodules at another commit (--submodules moves them): {few(left)}")
        return
    here = task.look()
    assert here is not None
    submodules.keep(git, path, task.outcome, force=force)
    url, progress = task.outcome.url or "", task.watch.progress
    with announced(here, None):
        task.again(
            lambda: submodules.bring(git, path, url, progress, shallow=here.shallow, force=force)
        )


def _blobs(task: Task) -> None:
    patterns, url = task.request.blobs, task.outcome.url or ""
    if patterns and blobs.uses_lfs(task.path):
        progress = task.watch.progress
        task.again(lambda: blobs.pull(task.git, task.path, url, patterns, progress))


def _fail(outcome: Outcome, error: KernelkitError | OSError) -> None:
    """The error as part of the outcome."""
    outcome.action = REFUSED if isinstance(error, RefusedError) else FAILED
    if isinstance(error, RefusedError):
        outcome.lost = error.lost
    if not isinstance(error, KernelkitError):
        outcome.error = f"{error.strerror or error}: {error.filename or outcome.path}"
        return
    received = "" if error.received is None else f"received: {error.received}"
    allowed = f"allowed: {error.allowed}" if error.allowed else ""
    outcome.error = "; ".join(part for part in (error.what, received, allowed) if part)
    outcome.next_step = error.next_step
    outcome.missing = isinstance(error, MissingDependencyError)
    if isinstance(error, GitError) and error.passing:
        outcome.unreachable = True
        outcome.next_step = f"check the network, or use --mirror {outcome.name}=URL|PATH"
