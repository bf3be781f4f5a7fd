"""What files hold, as digests: to see later whether something changed."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digests(folder: Path, pattern: str) -> dict[str, str]:
    """SHA-256 of each file that a path or glob names; of a folder, of all files below it."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob(pattern)):
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            name = file.relative_to(folder).as_posix()
            if "/.git/" not in f"/{name}":  # git's own files change when one looks
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found
