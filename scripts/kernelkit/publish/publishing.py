"""Sends one prepared branch: the push, then the pull request. Nothing else leaves the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import ConflictError, MissingDependencyError
from kernelkit.publish import github, hub, pushing
from kernelkit.publish.bodies import Texts
from kernelkit.publish.github import GitHub
from kernelkit.publish.hub import Hub
from kernelkit.publish.outcome import Side
from kernelkit.publish.repository import Repository


@dataclass(frozen=True)
class Job:
    """A branch that is ready, with the worktree it was made in."""

    repository: Repository
    tree: Path
    side: Side
    texts: Texts
    body: Path
    lfs: Sequence[str] = ()
    files: Sequence[str] = ()
    removed: Sequence[str] = ()
    dropped: Sequence[str] = ()  # of an earlier commit of this branch, and no part of it now
    hub_repo: str | None = None
    pr_repo: str | None = None  # of GitHub, where it is not the remote's


@dataclass
class Publisher:
    """Remembers which service cannot be used: the next definition does not try it again."""

    record: Callable[[], None] = lambda: None
    _down: dict[str, MissingDependencyError] = field(default_factory=dict)
    _hubs: dict[str, Hub] = field(default_factory=dict)

    def publish(self, job: Job) -> None:
        """Push and open the pull request, or bring an open one up to date; fills `job.side`.

        A dataset on the hub gets its pull request through the API, without a push. Raises
        KernelkitError; what was done until then is in `job.side`.
        """
        repo_id = job.hub_repo or hub.repository_of(job.repository.url)
        if hub.repository_of(job.repository.url) is None:
            self._push(job)
        if repo_id is not None:
            with self._service("hub"):
                self._on_hub(job, repo_id)
        elif (pushed_to := github.repository_of(job.repository.url)) is not None:
            with self._service("gh"):
                self._on_github(job, GitHub(job.pr_repo or pushed_to, pushed_to))
        else:
            job.side.note = f"open the pull request by hand, with {job.body}"

    def _push(self, job: Job) -> None:
        with self._service(job.repository.url):
            pushing.push(job.repository, job.side.branch, job.lfs, job.tree, cli.say)
        job.side.pushed = True
        self.record()

    def _on_hub(self, job: Job, repo_id: str) -> None:
        here = self._hubs.setdefault(repo_id, Hub(repo_id))
        held = here.open_request(job.texts.title)
        if held is None:
            _require_unknown(job)
        files = {path: job.tree / path for path in job.files}
        removed = [*job.removed, *(job.dropped if held else ())]
        made = here.publish(job.texts.title, job.texts.body, files, removed, held)
        job.side.pr_url, job.side.pr_number = made.url, made.number
        self.record()

    def _on_github(self, job: Job, here: GitHub) -> None:
        here.require_login()
        side = job.side
        url = here.open_request(side.branch)
        if url is not None:
            here.retell(url, job.texts.title, job.body)
        else:
            _require_unknown(job)
            url = here.create(side.branch, side.base, job.texts.title, job.body)
        side.pr_url = url
        self.record()

    @contextmanager
    def _service(self, name: str) -> Iterator[None]:
        if name in self._down:
            raise self._down[name]
        try:
            yield
        except MissingDependencyError as error:
            self._down[name] = error
            raise


def _require_unknown(job: Job) -> None:
    """One that was opened before and is open no more was merged or closed by somebody."""
    if job.side.pr_url:
        raise ConflictError(
            "the pull request of an earlier run is not open any more", received=job.side.pr_url,
            next_step="where it was merged, fetch the dataset; to open a new one, remove "
            "this kernel's `phase4` from the manifest",
        )  # fmt: skip


def commands(job: Job) -> list[list[str]]:
    """The same by hand."""
    root, remote, branch = str(job.repository.root), job.repository.remote, job.side.branch
    git = ["git", "-C", root]
    found = [[*git, "lfs", "push", remote, branch]] if job.lfs else []
    if job.hub_repo or hub.repository_of(job.repository.url):
        return [*found, [*git, "push", remote, f"{branch}:refs/pr/NUMBER"]]
    found.append([*git, "push", remote, branch])
    pushed_to = github.repository_of(job.repository.url)
    if pushed_to is not None:
        target = job.pr_repo or pushed_to
        owner = "" if target == pushed_to else pushed_to.split("/")[0] + ":"
        words = github.create_words(
            target, owner + branch, job.side.base, job.texts.title, job.body
        )
        found.append(words)
    return found
