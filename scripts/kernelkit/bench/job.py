"""What a worker is told, as a JSON file, and what it answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULT, PHASE, LOG = "result.json", "phase", "log.txt"
SCALARS, TENSORS = "scalars.json", "tensors.safetensors"


@dataclass(frozen=True)
class Settings:
    """How to run; times in seconds."""

    device: str = "cpu"
    sets: int = 2  # input sets with seeds that follow each other
    warmup: int = 3
    iterations: int = 20
    max_seconds: float = 5.0
    timeout: float = 120.0
    seed: int = 0


@dataclass(frozen=True)
class Job:
    """One run of one function: the reference's or a solution's.

    The reference's worker makes the inputs (one set for each seed) and leaves them in
    `inputs_folder`; a solution's worker reads them there and knows neither seeds nor family.
    """

    role: str  # reference or solution
    folder: str  # the worker's own: outputs, result, log, working folder
    inputs_folder: str
    code_folder: str
    entry_file: str
    entry_symbol: str
    destination_passing: bool
    input_names: list[str]
    outputs: dict[str, tuple[list[int] | None, str]]  # name -> shape, format dtype
    device: str
    sets: int
    warmup: int
    iterations: int
    max_seconds: float
    draws: int  # calls whose results are kept: 0, or many for ops that draw at random
    definition: dict[str, Any] | None = None  # the reference's worker only, as all that follow
    axes: dict[str, int] | None = None
    given: dict[str, Any] | None = None  # name -> {"value": x} or {"path": p, "key": k}
    seed: int = 0

    def write(self) -> Path:
        """The job's file, in its folder."""
        path = Path(self.folder) / "job.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Job:
        """The job of a file."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def set_folder(inputs_folder: str, index: int) -> Path:
    """Where an input set stands."""
    return Path(inputs_folder) / f"set{index}"
