"""One repository's work: what it needs to know, and what it says while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kernelkit.sources import checkout as state
from kernelkit.sources.catalogue import Source
from kernelkit.sources.checkout import Checkout
from kernelkit.sources.git import Git, Progress, patiently
from kernelkit.sources.outcome import Outcome, Request
from kernelkit.sources.remote import Remote, Wanted, ask


@dataclass(frozen=True)
class Watch:
    """Where one repository's progress and remarks go."""

    progress: Progress
    say: Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A repository to bring to `path`."""

    git: Git
    source: Source
    path: Path
    request: Request
    watch: Watch
    outcome: Outcome

    @property
    def asked(self) -> str | None:
        """The branch, tag or commit that was asked for."""
        return self.request.revisions.get(self.source.name)

    def url(self, here: Checkout | None) -> str:
        """From where to fetch: the mirror, else the checkout's origin, else where it lives."""
        mirror = self.request.mirrors.get(self.source.name)
        return mirror or (here.url if here and here.url else self.source.url)

    def again(self, action: Callable[[], None]) -> None:
        """Run an action, and again where the network failed."""
        patiently(
            action, retries=self.request.retries, wait_s=self.request.wait_s, say=self.watch.say
        )

    def remote(self, url: str) -> Remote:
        """What the remote has now."""
        answers: list[Remote] = []
        self.again(lambda: answers.append(ask(self.git, url, self.asked)))
        return answers[0]

    def look(self) -> Checkout | None:
        """What stands at the path now."""
        return state.look(self.git, self.path)

    def wanted(self, here: Checkout | None, remote: Remote) -> Wanted | None:
        """What was asked for, else what is checked out. None: leave the checkout where it is."""
        if self.asked is not None or here is None or here.head is None:
            return remote.resolve(self.asked)
        if here.branch is None:
            self.note(f"stays at {here.head[:12]} (no branch); name a revision to move it")
            return None
        found = remote.branch(here.branch)
        if found is None:
            self.note(f"stays on {here.branch}, which {remote.url} does not have")
        return found

    def note(self, text: str) -> None:
        """A remark that stays with the outcome."""
        self.outcome.notes.append(text)
