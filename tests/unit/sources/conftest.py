"""Real repositories on disk: a bare one that stands for the hosted one, and a place to clone to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernelkit.sources.catalogue import SOURCES
from kernelkit.sources.config import Entry, read
from kernelkit.sources.fetch import bring_all
from kernelkit.sources.outcome import Outcome, Request
from kernelkit.sources.task import Watch

_NOBODY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "tester"), ("EMAIL", "tester@example.org"))
}


@pytest.fixture(autouse=True)
def _own_git_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this machine, and an author."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in _NOBODY.items():
        monkeypatch.setenv(name, value)


def git(*words: object, at: Path) -> str:
    """The output of a git command."""
    command = ["git", *map(str, words)]
    done = subprocess.run(command, cwd=at, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Upstream:
    """A hosted repository: a bare one, and the tree that is pushed to it."""

    tree: Path
    bare: Path

    def commit(self, files: dict[str, str | None], message: str = "change") -> str:
        """Commit and push these contents (None: the file goes); returns the commit."""
        for name, text in files.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if text is None else path.write_text(text)
        git("add", "--all", at=self.tree)
        git("commit", "--quiet", "--message", message, at=self.tree)
        return self.push()

    def push(self) -> str:
        """Push the branch and its tags, whatever was there."""
        git("push", "--quiet", "--force", "--tags", self.bare, "HEAD", at=self.tree)
        return git("rev-parse", "HEAD", at=self.tree)


@pytest.fixture
def make_upstream(tmp_path: Path) -> Callable[[str], Upstream]:
    """Makes a hosted repository with one commit."""

    def make(name: str) -> Upstream:
        tree, bare = tmp_path / "upstream" / name, tmp_path / "hosted" / f"{name}.git"
        tree.mkdir(parents=True)
        git("init", "--quiet", "--initial-branch=main", at=tree)
        bare.parent.mkdir(exist_ok=True)
        git("init", "--quiet", "--bare", "--initial-branch=main", bare, at=tmp_path)
        made = Upstream(tree, bare)
        made.commit({"README.md": f"{name}\n", "src/a.py": "A = 1\n"}, "first")
        return made

    return make


@pytest.fixture
def upstream(make_upstream: Callable[[str], Upstream]) -> Upstream:
    """The hosted sglang."""
    return make_upstream("sglang")


@dataclass
class Desk:
    """A folder of checkouts, and runs over it."""

    target: Path
    mirrors: dict[str, str]
    said: list[str]

    def __call__(self, *names: str, jobs: int = 2, **options: object) -> list[Outcome]:
        """Bring these repositories (all that have a mirror, without names)."""
        chosen = [SOURCES[name] for name in names or self.mirrors]
        settings = {"mirrors": self.mirrors, "wait_s": 0.01, **options}
        request = Request(self.target, **settings)
        watch = Watch(lambda *_: None, self.said.append)
        return bring_all(chosen, request, jobs, lambda _: watch)

    def one(self, **options: object) -> Outcome:
        """Bring sglang."""
        return self("sglang", **options)[0]

    @property
    def path(self) -> Path:
        """The checkout of sglang."""
        return self.target / "sglang"

    def entry(self, name: str = "sglang") -> Entry:
        """What the config file says."""
        return read(self.target).repositories[name]


@pytest.fixture
def desk(tmp_path: Path, upstream: Upstream) -> Iterator[Desk]:
    """An empty target whose sglang comes from `upstream`."""
    return Desk(tmp_path / "tmp", {"sglang": str(upstream.bare)}, [])


@pytest.fixture
def run_git() -> Callable[..., str]:
    """git as a fixture, for tests that cannot import this file."""
    return git
