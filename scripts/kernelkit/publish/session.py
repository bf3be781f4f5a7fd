"""What submit_prs does: for each definition two branches, reviewed, and on request published."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kernelkit import cli
from kernelkit.errors import KernelkitError
from kernelkit.inventory import manifest as manifests
from kernelkit.inventory.manifest import Manifest
from kernelkit.publish.outcome import Outcome, Result
from kernelkit.publish.preparation import prepare
from kernelkit.publish.publishing import Publisher
from kernelkit.publish.pushing import push_error
from kernelkit.publish.request import Request, request_of
from kernelkit.sources.git import Git, GitError
from kernelkit.sources.lock import alone_in


def submit(args: argparse.Namespace) -> Result:
    """Prepare every definition that is asked for, and with `args.submit` publish it.

    A definition that fails is told with its error; the others are done all the same. Raises
    UsageError, NothingSelectedError and, where nothing can be fetched, MissingDependencyError.
    """
    request = request_of(args, Git())
    outcomes = []
    with _alone(request):
        if args.submit:
            _fetch(request)
        publisher = Publisher()
        for name in cli.progress(request.names, what="definitions", total=len(request.names)):
            outcome = Outcome(name)
            publisher.record = lambda outcome=outcome: _record(request, outcome)
            try:
                prepare(request, outcome, publisher)
            except KernelkitError as error:
                outcome.errors.append(error)
            _record(request, outcome)
            outcomes.append(outcome)
    return Result(outcomes, request.skipped, args.dry_run, args.submit)


@contextmanager
def _alone(request: Request) -> Iterator[None]:
    """One run at a time in each repository; a dry run makes nothing and needs no lock.

    git commands inherit the locks: those of a killed run end before the next one begins.
    """
    held = {r.root: r for r in (request.repository, request.bench) if r is not None}
    with ExitStack() as stack:
        if not request.args.dry_run:
            folders = [repository.own_folder for repository in held.values()]
            git = Git(inherited=[stack.enter_context(alone_in(folder)) for folder in folders])
            for repository in (request.repository, request.bench):
                if repository is not None:
                    repository.git = git
        yield


def _fetch(request: Request) -> None:
    """Branches are made on what the remote has now."""
    for repository in filter(None, (request.repository, request.bench)):
        try:
            repository.fetch()
        except GitError as error:
            found = push_error(repository, repository.base.branch, error)
            raise type(found)(
                f"{repository.url} cannot be fetched", received=found.received,
                next_step="check the login and the network; without --submit nothing is fetched",
            ) from None  # fmt: skip


def _record(request: Request, outcome: Outcome) -> None:
    """Into the manifest; what other steps wrote there stays."""
    if request.args.manifest is None or request.args.dry_run:
        return

    def change(held: Manifest) -> None:
        kernel = held.kernel(outcome.name)
        if kernel is not None:
            # A pull request that was merged is in the base: it stays on record all the same.
            held_before = kernel.phase4 if isinstance(kernel.phase4, dict) else {}
            found = {key: value for key, value in outcome.as_json().items() if value is not None}
            kernel.phase4 = {**held_before, **found}

    manifests.update(request.args.manifest, change)
