"""What a remote repository has, and which commit a branch, a tag or a commit's name means there."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from kernelkit.errors import UsageError
from kernelkit.sources.git import Git

_FULL = re.compile(r"[0-9a-f]{40}")
_PART = re.compile(r"[0-9a-f]{7,39}")


@dataclass(frozen=True)
class Wanted:
    """What to check out. `ref` is what to fetch; `sha` is the commit, None for a part of one."""

    kind: str  # branch, tag, commit, part (of a commit's name) or ref
    name: str
    ref: str
    sha: str | None

    @property
    def branch(self) -> str | None:
        """The local branch it is checked out as; None: a detached HEAD."""
        return self.name if self.kind == "branch" else None


@dataclass(frozen=True)
class Remote:
    """The refs of a remote repository."""

    url: str
    default: str | None  # the branch that its HEAD names
    refs: dict[str, str]  # full name to commit; a tag's commit, not its tag object

    def branches(self) -> list[str]:
        """The names of its branches."""
        return [ref[11:] for ref in self.refs if ref.startswith("refs/heads/")]

    def tags(self) -> list[str]:
        """The names of its tags."""
        return [ref[10:] for ref in self.refs if ref.startswith("refs/tags/")]

    def branch(self, name: str) -> Wanted | None:
        """The branch of this name, if the repository has it."""
        sha = self.refs.get(f"refs/heads/{name}")
        return Wanted("branch", name, f"refs/heads/{name}", sha) if sha else None

    def resolve(self, asked: str | None) -> Wanted:
        """What `asked` means: a branch, else a tag, a full ref, a commit; None: the default.

        Raises UsageError for a name that the repository does not have, with close ones.
        """
        name = asked if asked is not None else self._default()
        for kind, prefix in (("branch", "refs/heads/"), ("tag", "refs/tags/"), ("ref", "")):
            if sha := self.refs.get(prefix + name):
                return Wanted(kind, name, prefix + name, sha)
        if _FULL.fullmatch(name):
            return Wanted("commit", name, name, name)
        if _PART.fullmatch(name):
            return Wanted("part", name, name, None)
        close = difflib.get_close_matches(name, [*self.branches(), *self.tags()], n=5, cutoff=0.4)
        raise UsageError(
            f"{self.url} has no such branch, tag or commit",
            received=name,
            allowed=", ".join(close or self.branches()[:10]),
        )

    def _default(self) -> str:
        if self.default is not None:
            return self.default
        for name in ("main", "master"):
            if f"refs/heads/{name}" in self.refs:
                return name
        raise UsageError(
            f"{self.url} names no default branch",
            allowed=", ".join(self.branches()[:10]) or "nothing: the repository is empty",
            next_step="name one with the repository's --...-branch or --...-revision option",
        )


def ask(git: Git, url: str, asked: str | None) -> Remote:
    """The refs of the repository at `url`: its branches, its tags, and `asked`. Raises GitError."""
    patterns = ["HEAD", "refs/heads/*", "refs/tags/*"]
    if asked is not None and asked.startswith("refs/"):
        patterns.append(asked)
    lines = git("ls-remote", "--symref", "--", url, *patterns).splitlines()
    refs: dict[str, str] = {}
    default = None
    for line in lines:
        value, _, ref = line.partition("\t")
        if value.startswith("ref: refs/heads/") and ref == "HEAD":
            default = value[16:]
        elif not value.startswith("ref:"):
            # `tag^{}` follows `tag` and names the commit that an annotated tag stands for.
            refs[ref.removesuffix("^{}")] = value
    if refs.get("HEAD") and f"refs/heads/{default}" not in refs:
        default = None
    return Remote(url, default, refs)
