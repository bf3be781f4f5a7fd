"""Solution documents and folders for the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RUN = "def run(hidden_states, weight):\n    return hidden_states\n"


@pytest.fixture
def document() -> dict[str, Any]:
    """A document that uses every field of the format, and keys that it does not have."""
    return {
        "author": "someone",
        "name": "my_norm_v1",
        "definition": "rmsnorm_h64",
        "description": "Größe: a norm",
        "licence": {"spdx": "Apache-2.0", "empty": None},
        "spec": {
            "entry_point": "src/main.py::run",
            "language": "triton",
            "target_hardware": ["NVIDIA H200", "cpu"],
            "dependencies": ["torch", "triton>=3"],
            "destination_passing_style": True,
            "binding": "torch",
            "flags": ["-O3"],
        },
        "sources": [
            {"path": "src/main.py", "content": RUN.replace("weight", "weight, output")},
            {"path": "lib/b.cu", "content": "// α\r\nint x;\r\n", "note": [1, 2.5]},
            {"path": "lib/a.py", "content": "x = 1  # no newline at the end"},
            {"path": "README.md", "content": "# Of the solution\n"},
            {"path": ".hidden/x.txt", "content": "\ufeffmark\n"},
        ],
        "extra": 0,
    }


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder: manifest and sources by path (text or bytes)."""

    def make(manifest: object, sources: dict[str, str | bytes], name: str = "folder") -> Path:
        root = tmp_path / name
        root.mkdir(parents=True, exist_ok=True)
        (root / "solution.json").write_text(json.dumps(manifest), encoding="utf-8")
        for path, text in sources.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make


@pytest.fixture
def metadata() -> dict[str, Any]:
    """The least manifest of the metadata form."""
    spec = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run"}
    return {"name": "n", "definition": "rmsnorm_h64", "author": "a", "spec": spec}
