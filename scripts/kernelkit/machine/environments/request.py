"""What environment to make, and what came of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.machine.environments.installers import Installer
from kernelkit.machine.environments.locks import Lock
from kernelkit.machine.environments.steps import Step

STAMP, LOG = "kernelkit-environment.json", "install.log"
SCHEMA_VERSION = 1
MADE, THERE, PLANNED = "made", "already there", "planned"


@dataclass(frozen=True)
class Request:
    """What to make, with which Python and installer, and where."""

    lock: Lock
    interpreter: str
    installer: Installer
    path: Path
    seconds: float = 3600.0

    @property
    def build(self) -> Path:
        """The folder that holds the environment; another lock or Python has another one."""
        mark = hashlib.sha256(f"{self.lock.digest} {self.interpreter}".encode()).hexdigest()[:12]
        return self.path.with_name(f"{self.path.name}.{mark}")

    @property
    def python(self) -> Path:
        """The environment's interpreter while it is being made."""
        return self.build / "bin" / "python"


@dataclass(frozen=True)
class Result:
    """What was done, or what would be."""

    state: str
    request: Request
    steps: list[Step]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        lock = self.request.lock
        return {
            "schema_version": SCHEMA_VERSION,
            "state": self.state,
            "path": str(self.request.path),
            "folder": str(self.request.build),
            "lock": lock.to_json(),
            "lock_sha256": lock.digest,
            "interpreter": self.request.interpreter,
            "installer": self.request.installer.name,
            "steps": [{"what": step.what, "words": step.words} for step in self.steps],
            "notes": self.notes,
        }
