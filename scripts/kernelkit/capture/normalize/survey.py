"""The trace templates of a FlashInfer, asked for in a process of their own, without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit import places
from kernelkit.capture.normalize import context
from kernelkit.capture.normalize.raw import RawDump
from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.errors import DeadlineError, MissingDependencyError

SECONDS = 600.0


@dataclass(frozen=True)
class Entry:
    """One template of one API, or one call: its dump, or why there is none."""

    key: str
    op_type: str
    api: str = ""
    label: str = ""
    reference: bool = False  # whether the template carries one
    dump: dict[str, Any] | None = None
    error: str = ""
    how: str = ""
    compared: int = 0
    differences: list[str] = field(default_factory=list)
    facts: dict[str, Any] | None = None  # of a call: its context record

    def raw(self) -> RawDump | None:
        """The dump as the normaliser takes it."""
        return None if self.dump is None else RawDump(Path(f"{self.key}.json"), self.dump)


@dataclass(frozen=True)
class Survey:
    """What one FlashInfer answered. not_imported: modules with templates that lack a package."""

    version: str
    entries: list[Entry]
    not_imported: list[dict[str, str]]


def survey(
    flashinfer: Path, definitions: Sequence[Definition] | None = None, seconds: float = SECONDS
) -> Survey:
    """Every template of the FlashInfer in a folder, or the calls of these definitions.

    Raises MissingDependencyError where it cannot be imported, DeadlineError after `seconds`.
    """
    request: dict[str, Any] = {"flashinfer": str(flashinfer.resolve())}
    if definitions is not None:
        request["definitions"] = [definition.to_text() for definition in definitions]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, "request.json"), Path(folder, "result.json")]
        paths[0].write_text(json.dumps(request))
        command = [sys.executable, "-m", "kernelkit.capture.normalize.survey_worker"]
        own = {"PYTHONPATH": places.import_path(), "CUDA_VISIBLE_DEVICES": ""}
        environment = {**os.environ, **own}
        try:
            ran = subprocess.run(
                [*command, *map(str, paths)], env=environment, timeout=seconds,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DeadlineError(f"FlashInfer did not answer in {seconds:.0f} s") from None
        if ran.returncode != 0 or not paths[1].is_file():
            last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
            raise MissingDependencyError(
                "the FlashInfer there cannot be asked for its templates",
                received=f"{flashinfer}: {last}",
                next_step="pip install flashinfer-python==0.6.12 (needs torch)",
            )
        result = json.loads(paths[1].read_text())
    entries = [Entry(**entry) for entry in result["entries"]]
    return Survey(result["version"], entries, result["not_imported"])


def write(found: Survey, folder: Path) -> int:
    """Write each dump as `{name}.json`, with its call's record in context.jsonl; how many.

    Dumps of one name get a number behind it; their records say which file they belong to by name
    and API.
    """
    seen: dict[str, int] = {}
    records = []
    for entry in found.entries:
        if entry.dump is None:
            continue
        name = str(entry.dump["name"])
        seen[name] = seen.get(name, 0) + 1
        stem = name if seen[name] == 1 else f"{name}.{seen[name]}"
        atomic.write_text(folder / f"{stem}.json", json.dumps(entry.dump, indent=2) + "\n")
        facts = {**(entry.facts or {}), "api": entry.api, "dump": name}
        records.append(context.write_line(context.CallContext.model_validate(facts)))
    atomic.write_text(folder / context.CONTEXT_FILE, "".join(records))
    return sum(seen.values())
