"""The manifest's JSON Schema, for programs that read it without this pack."""

from __future__ import annotations

import json
from typing import Any

from kernelkit.inventory.manifest import SCHEMA_VERSION, Manifest


def document() -> dict[str, Any]:
    """JSON Schema (2020-12) of a run manifest. Keys it does not name are allowed and kept."""
    made = Manifest.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"kernelkit run manifest, version {SCHEMA_VERSION}",
        **{key: value for key, value in made.items() if key != "title"},
    }


def text() -> str:
    """The file form."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
