"""What a recorder is asked to do: a JSON file named by KERNELKIT_RECORDER."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "KERNELKIT_RECORDER"
SITE = Path(__file__).resolve().parent / "site"
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Settings:
    """`apis`: FlashInfer API path -> names of the definitions that want it; empty: every API that
    has a trace template. `about` goes into the header of each file (model, tp, ep, weights, ...).
    """

    output: str
    apis: dict[str, list[str]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    max_file_bytes: int = 64 * MEBIBYTE  # per process
    max_pending_bytes: int = 128 * MEBIBYTE  # host memory of calls not yet written
    max_tensor_bytes: int = 16 * MEBIBYTE  # an index tensor above it keeps its shape only
    max_contents_per_form: int = 2000  # distinct index contents kept for one shape of a call
    keep_steps: int = 32  # alike (mode, tokens, requests), with their index contents; then
    then_every: int = 4  # one in so many: a long decode has a plan of its own in every step
    flush_s: float = 0.5

    def write(self, path: Path) -> None:
        """Write the file that `environment` names."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read such a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def environment(settings_file: Path, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that load the recorder into a Python process and all its children."""
    rest = base.get("PYTHONPATH", "")
    paths = [str(SITE), *(part for part in rest.split(os.pathsep) if part and part != str(SITE))]
    return {VARIABLE: str(settings_file.resolve()), "PYTHONPATH": os.pathsep.join(paths)}
