"""`git push`, and the Git-LFS objects before it; refusals in one sentence each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

from kernelkit.errors import ConflictError, KernelkitError, MissingDependencyError
from kernelkit.publish.repository import Repository, without_password
from kernelkit.sources.blobs import INSTALL, installed
from kernelkit.sources.git import GitError, patiently

_BEHIND = re.compile(r"non-fast-forward|fetch first|stale info|cannot lock ref", re.IGNORECASE)
_LOGIN = re.compile(
    r"could not read (username|password)|authentication failed|returned error: 40[13]"
    r"|permission denied \(publickey|terminal prompts disabled|invalid username or",
    re.IGNORECASE,
)  # fmt: skip
_DECLINED = re.compile(r"declined|protected branch|permission (to|denied)|denied", re.IGNORECASE)
_RETRIES, _WAIT_S = 2, 2.0


def push(
    repository: Repository, branch: str, lfs: Sequence[str], tree: Path, say: Callable[[str], None]
) -> None:
    """Push the branch, its Git-LFS objects first. What is there already is not sent again.

    Raises MissingDependencyError without git-lfs, a login or the network, ConflictError where the
    remote's branch has other commits, KernelkitError where the remote declines.
    """
    if lfs and not installed(repository.git):
        raise MissingDependencyError(
            f"git-lfs is not installed, and {len(lfs)} recorded tensors go through it",
            next_step=f"{INSTALL}, then run this again: the branch is ready",
        )
    ref = f"refs/heads/{branch}"

    def send() -> None:
        if lfs:
            repository.git("lfs", "push", repository.remote, ref, at=tree)
        # The hook of git-lfs would send the objects again; other repositories' hooks run.
        unhooked = ["--no-verify"] * bool(lfs)
        words = ("push", "--quiet", *unhooked, repository.remote, f"{ref}:{ref}")
        repository.git(*words, at=repository.root)

    try:
        patiently(send, retries=_RETRIES, wait_s=_WAIT_S, say=say)
    except GitError as error:
        raise push_error(repository, branch, error) from None


def push_error(repository: Repository, branch: str, error: GitError) -> KernelkitError:
    """One sentence for what git said; the branch stays ready in every case."""
    said = without_password(str(error.received))
    git = f"git -C {quote(str(repository.root))}"
    by_hand = f"{git} push {repository.remote} {branch}"
    if _BEHIND.search(said):
        return ConflictError(
            f"the remote's {branch} has commits that this one lacks", received=said,
            next_step=f"{git} fetch {repository.remote} {branch}, look at them; "
            "or choose another --branch-prefix",
        )  # fmt: skip
    if _LOGIN.search(said):
        return MissingDependencyError(
            f"not logged in to {repository.url}", received=said,
            next_step=f"log in with git, then run this again, or {by_hand}",
        )  # fmt: skip
    if _DECLINED.search(said):
        return KernelkitError(
            f"{repository.url} declined the push", received=said,
            next_step="push to a fork: add it as a remote, and name it with --remote",
        )  # fmt: skip
    if error.passing:
        return MissingDependencyError(
            f"{repository.url} cannot be reached", received=said,
            next_step=f"check the network, then run this again, or {by_hand}",
        )  # fmt: skip
    return KernelkitError(f"the push to {repository.url} failed", received=said, next_step=by_hand)
