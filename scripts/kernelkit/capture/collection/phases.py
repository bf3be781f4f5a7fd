"""Which phases of a collection are done: a small file that a killed run leaves right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.dataset import atomic
from kernelkit.errors import UsageError

RECORD, SANITIZE, EVALUATE = "record", "sanitize", "evaluate"
STATE = "state.json"


@dataclass
class Phases:
    """The state of a run's folder. `done` maps a phase to what it reported."""

    folder: Path
    fingerprint: str
    done: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, request: Mapping[str, Any], *, resume: bool) -> Phases:
        """The state of this request. Without `resume` a new one; with it the one that is there.

        Raises UsageError where the folder holds another request's state.
        """
        text = json.dumps(request, sort_keys=True, default=str)
        mark = hashlib.sha256(text.encode()).hexdigest()[:16]
        path = folder / STATE
        if not path.is_file():
            return cls(folder, mark)
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["fingerprint"] == mark:
            return cls(folder, mark, held["done"] if resume else {})
        if resume:
            raise UsageError(
                "this folder holds a run with other options", received=folder,
                next_step="give the same options, or another --output",
            )  # fmt: skip
        return cls(folder, mark)

    def finish(self, phase: str, report: object) -> None:
        """Note that a phase is done."""
        self.done[phase] = report
        document = {"fingerprint": self.fingerprint, "done": self.done}
        atomic.write_text(self.folder / STATE, json.dumps(document, indent=2, default=str) + "\n")
