"""What became of a dump."""

from __future__ import annotations

from dataclasses import dataclass, field

from kernelkit.capture.normalize.raw import Refusal
from kernelkit.capture.normalize.reading import Reading
from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Variant


@dataclass
class Normalized:
    """One dump under one recorded call: a definition, or why there is none.

    drift: where the model's config gives something else.
    """

    dump: str  # its path below the dump folder
    name: str
    api: str
    reading: Reading
    variant: Variant | None = None
    family: bool = False  # whether a family of this pack gave interface and reference
    refusal: Refusal | None = None
    drift: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What was read differently from the dump."""
        return self.reading.notes

    @property
    def assumed(self) -> list[str]:
        """What only a default says."""
        return self.reading.assumed

    @property
    def definition(self) -> Definition | None:
        """The definition; None where the dump was refused."""
        return self.variant.definition if self.variant else None

    def refuse(self, code: str, reason: str) -> None:
        """Take the definition back."""
        self.variant = None
        self.refusal = Refusal(code, reason)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        row: dict[str, object] = {"dump": self.dump, "name": self.name, "api": self.api}
        if self.definition is not None:
            row |= {"definition": self.definition.name, "op_type": self.definition.op_type,
                    "family": self.family}  # fmt: skip
        if self.refusal is not None:
            row["refused"] = {"code": self.refusal.code, "reason": self.refusal.reason}
        for key in ("notes", "assumed", "drift"):
            if getattr(self, key):
                row[key] = getattr(self, key)
        return row

    def as_text(self) -> str:
        """One line, and one for each thing that a person should know."""
        if self.definition is not None:
            lines = [f"{self.dump}\n    -> {self.definition.op_type}/{self.definition.name}"]
        else:
            lines = [f"{self.dump}\n    refused, {self.refusal}"]
        lines += [f"    note: {text}" for text in self.notes]
        lines += [f"    assumed: {text}" for text in self.assumed]
        lines += [f"    drift: {text}" for text in self.drift]
        return "\n".join(lines)
