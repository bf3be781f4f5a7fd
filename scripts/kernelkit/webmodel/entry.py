"""The entry of models.ts: a model, and its modules by name, each with its count and its parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelkit.errors import FormatError

TYPES = ("block", "layer")


@dataclass(frozen=True)
class Module:
    """One module. `count`: how often the whole model has it, not its parent."""

    count: int
    type: str  # one of TYPES
    parent: str | None = None
    definitions: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The object of models.ts, keys in its order."""
        plain: dict[str, Any] = {"count": self.count}
        if self.parent is not None:
            plain["parent"] = self.parent
        return {**plain, "type": self.type, "definitions": list(self.definitions)}


@dataclass(frozen=True)
class Entry:
    """One model of the web interface."""

    id: str
    name: str
    description: str
    modules: Mapping[str, Module] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The object of models.ts as plain JSON types."""
        modules = {name: module.as_dict() for name, module in self.modules.items()}
        return {"id": self.id, "name": self.name, "description": self.description,
                "modules": modules}  # fmt: skip

    def definitions(self) -> list[str]:
        """Every definition that a module names, once."""
        return list(dict.fromkeys(d for m in self.modules.values() for d in m.definitions))


def check(entry: Entry) -> None:
    """Raises FormatError unless the modules are one tree whose counts can be.

    One root; every parent exists and is a block; no module is its own ancestor; a module is there
    at least once.
    """
    roots = [name for name, module in entry.modules.items() if module.parent is None]
    if len(roots) != 1:
        raise FormatError(f"{entry.id}: not one root module", received=roots)
    for name, module in entry.modules.items():
        problem = _problem(entry.modules, name, module)
        if problem:
            raise FormatError(f"{entry.id}: {name} {problem}")


def _problem(modules: Mapping[str, Module], name: str, module: Module) -> str | None:
    if module.type not in TYPES or module.count < 1:
        return f"has type {module.type!r} and count {module.count}"
    if module.parent is None:
        return None
    parent = modules.get(module.parent)
    if parent is None or parent.type != "block":
        return f"has a parent that is no block: {module.parent}"
    seen = {name}
    above: str | None = module.parent
    while above is not None:
        if above in seen:
            return "is its own ancestor"
        seen.add(above)
        above = modules[above].parent if above in modules else None
    return None
