"""The base of the format's models: unknown keys are kept, a round trip loses nothing."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

NonEmptyString = Annotated[str, Field(min_length=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]


class FormatModel(BaseModel):
    """A model of the format. Keys it does not know are kept and reported by the validator."""

    model_config = ConfigDict(extra="allow")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, without the fields that are not set."""
        # Through JSON text: infinities become strings there, as the format has them.
        return json.loads(self.model_dump_json(exclude_none=True))

    def to_text(self) -> str:
        """The file form: two spaces of indent and a final newline."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"

    def to_line(self) -> str:
        """The JSONL form: one line."""
        return json.dumps(self.to_json(), ensure_ascii=False)
