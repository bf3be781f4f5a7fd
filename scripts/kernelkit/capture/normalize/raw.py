"""Raw dumps: what FlashInfer's tracer wrote, read as it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from typing import Any

from kernelkit.dataset.tags import normalize_api
from kernelkit.errors import FormatError, NothingSelectedError, UsageError

UNKNOWN = "unknown"  # the dumper's dtype for a tensor that the call did not pass
KEYS = ("name", "op_type", "axes", "inputs", "outputs")
# Modules in which FlashInfer implements what it exports one level up.
_INNER_MODULES = ("core", "_core", "_batch_mla", "_wrapper", "gemm_base", "selective_state_update")


class Refusal(Exception):
    """Why no valid definition follows from a dump. `code` is stable, the text is for a person."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


class OtherInterface(Exception):
    """The API is a family's, but this call of it has another interface: the plain rules apply."""


@dataclass(frozen=True)
class RawDump:
    """One dump: where it came from, and its document."""

    path: Path
    document: dict[str, Any]

    @property
    def name(self) -> str:
        """The name that the template gave."""
        return str(self.document["name"])

    @property
    def api(self) -> str:
        """The API's dotted path of the `fi_api:` tag, with `.run`; "" where there is none."""
        for tag in self.document.get("tags") or []:
            if str(tag).startswith("fi_api:"):
                return str(tag).removeprefix("fi_api:")
        return ""

    @property
    def function(self) -> str:
        """The last component of the API without `.run`: a function's or a wrapper's name."""
        parts = self.api.split(".")
        return parts[-2] if parts[-1] == "run" and len(parts) > 1 else parts[-1]

    @property
    def consts(self) -> dict[str, int]:
        """The constant axes that have a value."""
        axes = self.document["axes"].items()
        return {n: a["value"] for n, a in axes if type(a.get("value")) is int}

    def const(self, axis: str) -> int:
        """A constant axis. Raises Refusal where the dump has no value for it."""
        value = self.consts.get(axis)
        if value is None or value < 0:
            raise Refusal("axis-without-value", f"the dump has no value for the axis {axis}")
        return value

    def dtype(self, tensor: str) -> str | None:
        """The element type of an input or output; None where it is absent or unknown."""
        spec = self.document["inputs"].get(tensor) or self.document["outputs"].get(tensor) or {}
        return None if spec.get("dtype") in (None, UNKNOWN) else str(spec["dtype"])


@dataclass(frozen=True)
class Unread:
    """A file of the dump folder that is no raw dump."""

    path: Path
    reason: str


def find(folder: Path) -> list[Path]:
    """The JSON files below a dump folder. Raises UsageError, NothingSelectedError."""
    if not folder.is_dir():
        raise UsageError("no such dump folder", received=folder)
    paths = sorted(path for path in folder.rglob("*.json") if path.is_file())
    if not paths:
        raise NothingSelectedError(
            "the dump folder holds no JSON",
            received=folder,
            next_step="set FLASHINFER_TRACE_DUMP=1 and FLASHINFER_TRACE_DUMP_DIR, and switch CUDA "
            "graphs off",
        )
    return paths


def read(paths: list[Path]) -> Iterator[RawDump | Unread]:
    """Each file as a dump, or why it is none. One bad file hides no other."""
    for path in paths:
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            yield Unread(path, f"is not JSON ({error})")
            continue
        if reason := unusable(document):
            yield Unread(path, reason)
        else:
            yield RawDump(path, document)


def unusable(document: object) -> str | None:
    """Why a document has not the shape of a dump; None where it has."""
    if not isinstance(document, dict):
        return "is no JSON object"
    missing = [key for key in KEYS if key not in document]
    if missing:
        return f"is no trace dump: it lacks {', '.join(missing)}"
    for key in ("axes", "inputs", "outputs"):
        part = document[key]
        if not isinstance(part, dict) or not all(isinstance(v, dict) for v in part.values()):
            return f"is no trace dump: {key} is no object of objects"
    for key in ("name", "op_type"):
        if not isinstance(document[key], str):
            return f"is no trace dump: {key} is no text"
    if not isinstance(document.get("tags") or [], list):
        return "is no trace dump: tags is no list"
    for side in ("inputs", "outputs"):
        for name, spec in document[side].items():
            if not name.isidentifier() or iskeyword(name):
                return f"is no trace dump: {side} has {name[:40]!r}, which is no Python name"
            shape = spec.get("shape")
            if shape is not None and not isinstance(shape, list):
                return f"is no trace dump: {side}.{name} has no list as shape"
    return None


def public_api(api: str) -> str | None:
    """The path that a person imports: inner modules and `.run` left out. None for no API path."""
    try:
        parts = normalize_api(api).split(".")
    except FormatError:
        return None
    kept = [part for part in parts[:-1] if part not in _INNER_MODULES]
    if len(kept) > 1 and kept[-1] == parts[-1]:  # a module of the function's own name
        kept.pop()
    return ".".join([*kept, parts[-1]])
