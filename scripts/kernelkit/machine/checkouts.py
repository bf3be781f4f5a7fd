"""The sources that clone_repos.py brought, as far as they are recorded and there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kernelkit.machine.facts import ABSENT, BROKEN, OK, Fact
from kernelkit.sources.catalogue import SOURCES
from kernelkit.sources.config import read

GROUP = "sources"


def probes(target: Path) -> list[tuple[str, Callable[[], list[Fact]]]]:
    """One probe for each repository."""
    return [(capability(name), lambda name=name: [probe(name, target)]) for name in SOURCES]


def capability(name: str) -> str:
    """The name under which scripts need a repository's checkout."""
    return f"{name.replace('-', '_')}_sources"


def probe(name: str, target: Path) -> Fact:
    """Where the checkout is, and at which commit."""
    entry = read(target).repositories.get(name)
    if entry is None:
        return Fact(GROUP, capability(name), ABSENT, detail=f"not in {target}")
    if not (Path(entry.path) / ".git").exists():
        return Fact(GROUP, capability(name), BROKEN, detail=f"{entry.path} is gone")
    blobs = f", Git-LFS objects: {entry.blobs}" if entry.blobs != "none" else ""
    at = entry.tag or entry.branch or "detached"
    return Fact(GROUP, capability(name), OK, f"{entry.sha[:12]} ({at})", f"{entry.path}{blobs}")
