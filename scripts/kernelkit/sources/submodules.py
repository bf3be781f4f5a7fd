"""Submodules, on request: brought to the commits that the checkout records, nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from shlex import quote

from kernelkit.sources import checkout as state
from kernelkit.sources.catalogue import is_local
from kernelkit.sources.checkout import Checkout
from kernelkit.sources.git import Git, Progress
from kernelkit.sources.keeping import backup, keep_detached
from kernelkit.sources.outcome import Outcome

_MODULES = ".gitmodules"


def declared(path: Path) -> bool:
    """Whether the checkout has submodules."""
    return (path / _MODULES).is_file()


def bring(
    git: Git, path: Path, url: str, progress: Progress, *, shallow: bool, force: bool
) -> None:
    """Fetch and check out every submodule, and theirs. Raises GitError.

    Without `force` git refuses to overwrite a changed file in a submodule.
    """
    words = ["submodule", "update", "--init", "--recursive", "--progress", "--jobs=4"]
    words += ["--depth=1"] if shallow else []
    words += ["--force"] if force else []
    # A path as a submodule's address is refused by git unless the caller chose such a place.
    settings = ["protocol.file.allow=always"] if is_local(url) or url.startswith("file:") else []
    git.long(*words, at=path, progress=progress, settings=settings)


def stale(git: Git, path: Path) -> list[str]:
    """Submodules that are checked out at another commit than the checkout records."""
    return [line[1:].split(" ")[1] for line in _status(git, path) if line.startswith("+")]


def commits(git: Git, path: Path) -> dict[str, str]:
    """The commit of each submodule that is checked out, by path."""
    found = (line[1:].split(" ") for line in _status(git, path) if line[0] != "-")
    return {name: sha for sha, name, *_ in found}


def _status(git: Git, path: Path) -> list[str]:
    return git("submodule", "status", "--recursive", at=path).splitlines() if declared(path) else []


def keep(git: Git, path: Path, outcome: Outcome, *, force: bool) -> None:
    """Before submodules move: name commits that only they have, and under `force` keep changes."""
    for name in commits(git, path):
        here = state.look(git, path / name)
        if here is None or here.head is None:
            continue
        keep_detached(git, here)
        if force:
            _keep_changes(git, here, name, outcome)


def _keep_changes(git: Git, here: Checkout, name: str, outcome: Outcome) -> None:
    changes = state.changed(git, here.path)
    if not changes:
        return
    ref = backup(git, here, here.head, changes)
    outcome.lost += [f"modified: {name}/{change}" for change in changes]
    outcome.notes.append(f"what was thrown away is kept: git -C {quote(str(here.path))} show {ref}")


def remove_unfinished(git: Git, here: Checkout) -> None:
    """Remove submodules whose clone was cut off: they have no commit, so nothing can be lost."""
    if not declared(here.path):
        return
    words = ("config", "--file", _MODULES, "--null", "--get-regexp", r"^submodule\..*\.path$")
    for entry in git(*words, at=here.path, ok=(0, 1)).split("\0")[:-1]:
        key, _, name = entry.partition("\n")
        own = here.git_dir / "modules" / key[len("submodule.") : -len(".path")]
        if own.is_dir() and not _has_commit(git, own):
            git("submodule", "--quiet", "deinit", "--force", "--", name, at=here.path)
            shutil.rmtree(own)


def _has_commit(git: Git, git_dir: Path) -> bool:
    words = (f"--git-dir={git_dir}", "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    return bool(git(*words, at=git_dir, ok=(0, 1, 128)).strip())
