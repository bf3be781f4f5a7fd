"""Which packages a script can come to import: a walk over the sources, nothing is run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@dataclass(frozen=True)
class Import:
    """An import: of what, in which file, and whether the module cannot be loaded without it."""

    module: str
    file: str
    at_load: bool


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """All imports in a file, those under TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(_walk(tree, path.relative_to(SCRIPTS).as_posix(), at_load=True))


def _walk(node: ast.AST, file: str, *, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, file, at_load) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield Import(child.module, file, at_load)
            yield from (Import(f"{child.module}.{a.name}", file, at_load) for a in child.names)
        inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try))
        yield from _walk(child, file, at_load=at_load and not inner)


def _file_of(module: str) -> Path | None:
    base = SCRIPTS.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def reached(script: Path) -> list[Import]:
    """Third-party imports in the script and in all of kernelkit that it can come to."""
    seen: set[Path] = set()
    todo, found = [script], []
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for entry in imports_of(path):
            top = entry.module.split(".")[0]
            if top == "kernelkit":
                inner = _file_of(entry.module)
                todo += [inner] if inner else []
            elif top not in sys.stdlib_module_names and top != "__future__":
                found.append(entry)
    return found
