"""What is read from a config, as two files: the config as published, and its architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernelkit.dataset.atomic import write_bytes, write_text
from kernelkit.errors import UsageError
from kernelkit.models.spec import ModelSpec

CONFIG, ARCHITECTURE = "model_config.json", "model_architecture.json"


def architecture_document(
    spec: ModelSpec, *, name: str, source: str, revision: str | None = None
) -> dict[str, Any]:
    """The content of model_architecture.json. `source`: its repository or file."""
    return {"name": name, "source": source, "revision": revision, **spec.as_dict()}


def write_extracted(folder: Path, published: bytes, document: dict[str, Any]) -> list[Path]:
    """Write both files, each whole or not at all. Raises UsageError where that cannot be."""
    files = [folder / CONFIG, folder / ARCHITECTURE]
    try:
        write_bytes(files[0], published)
        write_text(files[1], json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from None
    return files
