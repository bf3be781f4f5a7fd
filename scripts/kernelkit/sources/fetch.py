"""Bring all repositories, in parallel, and record each as soon as it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from kernelkit.errors import KernelkitError, UsageError
from kernelkit.sources import config
from kernelkit.sources.bringing import bring
from kernelkit.sources.catalogue import Source
from kernelkit.sources.describing import describe
from kernelkit.sources.git import Git
from kernelkit.sources.install import command, install
from kernelkit.sources.lock import alone_in
from kernelkit.sources.outcome import CLONED, FAILED, Outcome, Request
from kernelkit.sources.task import Task, Watch

Watcher = Callable[[Source], Watch]


class Book:
    """repos_config.json while repositories are done one after another."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._guard = threading.Lock()
        self._held = config.read(target)

    def entry(self, name: str) -> config.Entry | None:
        """What the file says about a repository."""
        return self._held.repositories.get(name)

    def put(self, name: str, entry: config.Entry | None) -> None:
        """Replace (or, with None, drop) a repository's entry, and write the file."""
        with self._guard:
            others = {n: e for n, e in self._held.repositories.items() if n != name}
            self._held = config.ReposConfig({**others, **({name: entry} if entry else {})})
            if self._held.repositories or (self._target / config.FILE_NAME).is_file():
                config.write(self._target, self._held)


def bring_all(
    sources: Sequence[Source], request: Request, jobs: int, watcher: Watcher
) -> list[Outcome]:
    """Every repository's outcome, in the order of `sources`.

    Raises what stops all: MissingDependencyError without git, UsageError for a target that cannot
    be made, ConflictError where another run holds it, FormatError for a broken config file.
    """
    if request.dry_run:
        return _all(sources, request, jobs, watcher, Git(), None)
    with _held_target(request.target) as descriptor:
        book = Book(request.target)
        return _all(sources, request, jobs, watcher, Git(inherited=(descriptor,)), book)


@contextmanager
def _held_target(target: Path) -> Iterator[int]:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the target folder cannot be made: {error.strerror}", received=target
        ) from None
    with alone_in(target) as descriptor:
        yield descriptor


def _all(
    sources: Sequence[Source],
    request: Request,
    jobs: int,
    watcher: Watcher,
    git: Git,
    book: Book | None,
) -> list[Outcome]:
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = {
            pool.submit(_one, git, source, request, watcher(source), book): source
            for source in sources
        }
        try:
            for future in as_completed(futures):
                outcomes[futures[future].name] = future.result()
        except BaseException:
            git.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return [outcomes[source.name] for source in sources]


def _one(git: Git, source: Source, request: Request, watch: Watch, book: Book | None) -> Outcome:
    path = request.path(source)
    task = Task(git, source, path, request, watch, Outcome(source.name, str(path.absolute())))
    bring(task)
    if book is not None:
        _write_down(task, book)
    return task.outcome


def _write_down(task: Task, book: Book) -> None:
    """Record what stands there now, also where the task failed."""
    outcome, name = task.outcome, task.source.name
    try:
        here = task.look()
        if here is None or here.head is None:
            return book.put(name, None)
        old = book.entry(name)
        if outcome.failed:
            task = replace(task, request=replace(task.request, revisions={}))
        entry = describe(task, here, old)
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        book.put(name, config.renewed(old, entry, now, cloned=outcome.action == CLONED))
        outcome.sha, outcome.branch = entry.sha, entry.branch
    except (KernelkitError, OSError) as error:
        if not outcome.failed:
            outcome.action, outcome.error = FAILED, str(error)


def install_all(
    sources: Sequence[Source], outcomes: Sequence[Outcome], request: Request
) -> Iterator[str]:
    """Install what was brought, one after another; yields a line before each.

    A failure becomes part of the repository's outcome.
    """
    for source, outcome in zip(sources, outcomes, strict=True):
        if source.package is None or outcome.failed:
            continue
        path = request.path(source)
        yield " ".join(command(source, path))
        if request.dry_run:
            continue
        try:
            install(source, path)
        except KernelkitError as error:
            outcome.action, outcome.error, outcome.next_step = FAILED, error.what, error.next_step
            outcome.error += f"; received: {error.received}"
            continue
        _mark_installed(request.target, source.name)


def _mark_installed(target: Path, name: str) -> None:
    book = Book(target)
    entry = book.entry(name)
    if entry is not None and entry.installed_at is None:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        book.put(name, replace(entry, installed_at=now))
