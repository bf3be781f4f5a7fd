"""A fresh clone, made beside its place and moved there when it is whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kernelkit.sources import submodules
from kernelkit.sources.git import Git
from kernelkit.sources.interrupted import remove_leftovers, temporary
from kernelkit.sources.moving import commit_of, fetch, place, record
from kernelkit.sources.outcome import CLONED
from kernelkit.sources.remote import Remote, Wanted
from kernelkit.sources.task import Task


def clone(task: Task, remote: Remote, wanted: Wanted) -> None:
    """Clone what is wanted to the task's path, which is absent or an empty folder.

    Only the wanted branch or tag comes, with the tags of its history. Raises GitError.
    """
    path = task.path.resolve()
    remove_leftovers(path)
    new = temporary(path)
    new.mkdir(parents=True)
    try:
        _fill(task, new, remote, wanted)
        if path.is_dir():
            path.rmdir()
        os.replace(new, path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    task.outcome.action = CLONED


def _fill(task: Task, new: Path, remote: Remote, wanted: Wanted) -> None:
    git, progress = task.git, task.watch.progress
    _prepare(git, new, remote)
    depth = None if wanted.kind == "part" else task.request.depth
    task.again(lambda: fetch(git, new, remote, wanted, progress, depth))
    sha = commit_of(git, new, wanted)
    place(git, new, wanted.branch, sha)
    record(git, new, wanted, sha)
    if wanted.branch and wanted.branch == remote.default:
        head = f"refs/remotes/origin/{wanted.branch}"
        git("symbolic-ref", "refs/remotes/origin/HEAD", head, at=new)
    if task.request.submodules and submodules.declared(new):
        shallow = task.request.depth is not None
        task.again(
            lambda: submodules.bring(git, new, remote.url, progress, shallow=shallow, force=False)
        )


def _prepare(git: Git, new: Path, remote: Remote) -> None:
    """An empty repository whose `origin` is the remote."""
    git("init", "--quiet", at=new)
    git("symbolic-ref", "HEAD", f"refs/heads/{remote.default or 'main'}", at=new)
    git("remote", "add", "origin", remote.url, at=new)
