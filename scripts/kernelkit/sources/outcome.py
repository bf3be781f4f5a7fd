"""What is asked for, and what came of it, repository by repository."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.sources.catalogue import Source

CLONED, UPDATED, CURRENT, KEPT = "cloned", "updated", "current", "kept"
FAILED, REFUSED = "failed", "refused"
WOULD_CLONE, WOULD_UPDATE, WOULD_RESET = "would clone", "would update", "would reset"


@dataclass(frozen=True)
class Request:
    """How to bring the repositories."""

    target: Path
    revisions: dict[str, str] = field(default_factory=dict)  # by name: branch, tag or commit
    mirrors: dict[str, str] = field(default_factory=dict)
    depth: int | None = None  # of fresh clones
    submodules: bool = False
    blobs: str | None = None  # Git-LFS objects to fetch: a comma-separated list of globs
    force: bool = False
    offline: bool = False
    dry_run: bool = False
    retries: int = 3
    wait_s: float = 2.0  # before the first retry; each later one waits twice as long

    def path(self, source: Source) -> Path:
        """Where the repository's checkout stands."""
        return self.target / source.name


@dataclass
class Outcome:
    """One repository's result. `lost` is what --force threw away, or what it would."""

    name: str
    path: str
    action: str = CURRENT
    url: str | None = None
    branch: str | None = None
    before: str | None = None
    sha: str | None = None
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    next_step: str = ""
    missing: bool = False  # the failure is a program that is not installed
    unreachable: bool = False  # the failure is the network's
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether the repository is not as it was asked for."""
        return self.error is not None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)
