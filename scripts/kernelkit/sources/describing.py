"""What stands in a checkout, as repos_config.json records it."""

from __future__ import annotations

from kernelkit.sources import blobs, submodules
from kernelkit.sources import checkout as state
from kernelkit.sources.checkout import Checkout
from kernelkit.sources.config import Entry
from kernelkit.sources.task import Task


def describe(task: Task, here: Checkout, old: Entry | None) -> Entry:
    """The entry of a checkout with a commit; its times are `config.renewed`'s."""
    git, path = task.git, here.path
    tags = git("tag", "--points-at", "HEAD", "--sort=-version:refname", at=path).split()
    url = task.outcome.url or (old.url if old else None) or here.url or task.source.url
    return Entry(
        path=str(path.absolute()),
        url=url,
        sha=here.head or "",
        revision=task.asked or (old.revision if old else None),
        branch=here.branch,
        tag=tags[0] if tags else None,
        commit_time=git("log", "-1", "--format=%cI", "HEAD", at=path).strip(),
        shallow=here.shallow,
        submodules=submodules.commits(git, path),
        blobs=_blobs(task, here),
        local_changes=len(state.changed(git, path)),
    )


def _blobs(task: Task, here: Checkout) -> str:
    """none, pointers, some or present; and a note on what is not there."""
    if not blobs.uses_lfs(here.path):
        return "none"
    left, objects = blobs.pointers(task.git, here.path)
    if not left.count:
        return "present" if objects else "none"
    installed = blobs.installed(task.git)
    remedy = (
        "--blobs fetches them"
        if installed
        else (
            "git-lfs is not installed, so neither --blobs nor git lfs pull can fetch them: "
            f"workloads with recorded tensors cannot run ({blobs.INSTALL})"
        )
    )
    task.note(f"{left}; {remedy}")
    return "some" if objects else "pointers"
