"""Before --force throws something away it becomes a commit of the checkout's own repository."""

from __future__ import annotations

import time
from collections.abc import Sequence

from kernelkit.sources.checkout import Checkout, own_commits
from kernelkit.sources.git import Git

BACKUPS = "refs/kernelkit/before-force"
_WHO = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "kernelkit"), ("EMAIL", "kernelkit@localhost"))
}


def backup(git: Git, here: Checkout, parent: str | None, names: Sequence[str]) -> str:
    """Commit these files as they are now, on top of `parent`; returns the ref that keeps it.

    The checkout's own index is not touched.
    """
    index = here.git_dir / "kernelkit-backup-index"
    index.unlink(missing_ok=True)
    private = {"GIT_INDEX_FILE": str(index)}
    try:
        if here.head:
            git("read-tree", here.head, at=here.path, environment=private)
        if names:
            listed = "\0".join(names).encode("utf-8", "surrogateescape")
            words = ("--literal-pathspecs", "add", "--force", "--all")
            options = ("--pathspec-from-file=-", "--pathspec-file-nul")
            git(*words, *options, at=here.path, environment=private, given=listed)
        tree = git("write-tree", at=here.path, environment=private).strip()
    finally:
        index.unlink(missing_ok=True)
    parents = ["-p", parent] if parent else []
    words = ("commit-tree", tree, "-m", "What clone_repos.py --force threw away", *parents)
    commit = git(*words, at=here.path, environment=_WHO).strip()
    ref = f"{BACKUPS}/{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{commit[:7]}"
    git("update-ref", ref, commit, at=here.path)
    return ref


def keep_detached(git: Git, here: Checkout) -> None:
    """Give commits on a detached HEAD a name before HEAD leaves them."""
    if here.branch is None and here.head and own_commits(git, here.path, here.head, None):
        git("update-ref", f"{BACKUPS}/detached-{here.head[:12]}", here.head, at=here.path)
