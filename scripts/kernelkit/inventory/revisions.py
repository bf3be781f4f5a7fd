"""The commit of a folder that lies in a git checkout, read without changing anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

_TIMEOUT_S = 10


def revision_of(folder: Path) -> str | None:
    """The commit of the checkout that tracks `folder`; None outside of one, or without git."""
    tracked = git(folder, "ls-files", "--error-unmatch", ".")
    return (git(folder, "rev-parse", "HEAD") or "").strip() or None if tracked else None


def git(folder: Path, *words: str) -> str | None:
    """What a git command prints; None where it fails or git is absent."""
    data = git_bytes(folder, *words)
    return None if data is None else data.decode("utf-8", "replace")


def git_bytes(folder: Path, *words: str) -> bytes | None:
    """As `git`, the output as bytes."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True, timeout=_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
