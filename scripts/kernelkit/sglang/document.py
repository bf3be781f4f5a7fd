"""The answer, as sglang_implementation.json holds it (schema_version 1).

Files are named relative to the folder that holds the package (`sglang/srt/...`); lines count from
1. Counts are of the whole model, before any parallelism.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Module(_Record):
    """One module of the model's tree; the repeated layers stand once for each kind.

    `path` is the dotted attribute path with `*` for the index of a layer; where layers differ, a
    path occurs once for each layer class, and `count` says in how many layers. `arguments` are the
    constructor's, as far as the config decides them. `condition` is set where the sources leave
    open whether the module is built.
    """

    name: str
    path: str
    layer_class: str
    file: str
    line: int
    count: int
    parent: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    condition: str | None = None


class KernelCall(_Record):
    """One call of a kernel that a layer class makes.

    `module` is the layer class; `paths` are the modules of that class that make the call. `symbol`
    is what is called, `file` and `line` where. `chain` leads there from the layer's forward, as
    `file:line function`. `condition` is what the sources leave open on the way, None if nothing.
    `fi_api` names the FlashInfer API behind it, directly or through sgl-kernel.
    """

    module: str
    op_type: str | None
    provider: str
    symbol: str
    file: str
    line: int
    condition: str | None = None
    fi_api: str | None = None
    has_trace_template: bool | None = None
    paths: list[str] = Field(default_factory=list)
    chain: list[str] = Field(default_factory=list)


class Excerpt(_Record):
    """Lines worth reading, by reference."""

    what: str
    file: str
    first_line: int
    last_line: int


class Implementation(_Record):
    """What SGLang does for one architecture under one attention backend."""

    schema_version: int = SCHEMA_VERSION
    sglang_version: str
    architecture: str
    attention_backend: str
    model_file: str
    entry_class: str
    modules: list[Module] = Field(default_factory=list)
    kernels: list[KernelCall] = Field(default_factory=list)
    excerpts: list[Excerpt] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return self.model_dump(mode="json")

    def to_text(self) -> str:
        """The file form: two spaces of indent and a final newline."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, document: Any) -> Implementation:
        """The inverse of `to_json`. Raises FormatError for what is no such document."""
        from pydantic import ValidationError

        from kernelkit.errors import FormatError

        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            raise FormatError(
                f"not an sglang_implementation.json: {where}: {first['msg']}"
            ) from None
