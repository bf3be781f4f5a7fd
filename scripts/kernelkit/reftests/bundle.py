"""Takes from the parts the functions that a test needs, with the imports that these need.

A generated file is self-contained and holds nothing that it does not use. Parts name each other by
import; the text of a function is copied as it stands, comments included.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "parts"
PACKAGE = "kernelkit.reftests.parts."

Key = tuple[str, str]  # part, name


class Name(str):
    """A constant's value that is a name, to be written without quotes."""


@dataclass(frozen=True)
class Part:
    """One file: the text and the tree of each top-level name, and where imported names are from."""

    texts: Mapping[str, str]
    nodes: Mapping[str, ast.AST]
    imports: Mapping[str, Key | str]  # name -> (part, name), or the import statement


@dataclass
class Bundle:
    """Import statements, and for each section the top-level definitions in order."""

    imports: list[str] = field(default_factory=list)
    sections: list[list[str]] = field(default_factory=list)


def bundle(
    sections: Sequence[Sequence[Key]],
    constants: Mapping[str, object],
    extra_imports: Sequence[str] = (),
) -> Bundle:
    """The wanted names of each section with all that they use; a name stands in the first section
    that needs it. `constants` replaces top-level assignments. Raises KeyError for a name that no
    part has."""
    made, held, imports = Bundle(), set(), set(extra_imports)
    for wanted in sections:
        found: set[Key] = set()
        for key in wanted:
            _collect(key, constants, found, imports)
        ordered = sorted(found - held, key=_place)
        made.sections.append([_text(key, constants) for key in ordered])
        held |= found
    made.imports = _sorted_imports(imports)
    return made


def _collect(key: Key, constants: Mapping[str, object], found: set[Key], imports: set[str]) -> None:
    """Adds `key` and what it uses, and the imports of these."""
    if key in found:
        return
    found.add(key)
    part = load(key[0])
    for name in _used(_node(key, constants)):
        if name in part.texts:
            _collect((key[0], name), constants, found, imports)
        elif isinstance(target := part.imports.get(name), str):
            imports.add(target)
        elif target is not None:
            _collect(target, constants, found, imports)


def _node(key: Key, constants: Mapping[str, object]) -> ast.AST:
    if key[1] in constants:
        return ast.parse(_value(constants[key[1]]))
    return load(key[0]).nodes[key[1]]


def _text(key: Key, constants: Mapping[str, object]) -> str:
    if key[1] in constants:
        return f"{key[1]} = {_value(constants[key[1]])}"
    return load(key[0]).texts[key[1]]


def _value(value: object) -> str:
    return str(value) if isinstance(value, Name) else literal(value)


def literal(value: object) -> str:
    """A Python literal with double quotes."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(literal, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def _used(node: ast.AST) -> Iterator[str]:
    return (child.id for child in ast.walk(node) if isinstance(child, ast.Name))


def _place(key: Key) -> tuple[int, int, int]:
    """Types and constants first, then parts in the order of their dependence, names in that of the
    file. A second name of a function (lower case) stands where the file has it."""
    part = load(key[0])
    early = isinstance(part.nodes[key[1]], ast.Assign) and key[1][0].isupper()
    return (0 if early else 1, _depth(key[0]), list(part.texts).index(key[1]))


@functools.cache
def _depth(name: str) -> int:
    """How far a part stands above those that import no other."""
    others = {target[0] for target in load(name).imports.values() if isinstance(target, tuple)}
    return 1 + max(map(_depth, others), default=0)


@functools.cache
def load(name: str) -> Part:
    """One part, read and taken apart."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    texts: dict[str, str] = {}
    nodes: dict[str, ast.AST] = {}
    imports: dict[str, Key | str] = {}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports |= _imported(node)
        elif (defined := _defined(node)) is not None:
            texts[defined] = _source(lines, node)
            nodes[defined] = node
    return Part(texts, nodes, imports)


def _defined(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def _source(lines: Sequence[str], node: ast.stmt) -> str:
    """The statement's lines with its decorators."""
    decorators = [one.lineno for one in getattr(node, "decorator_list", [])]
    return "\n".join(lines[min([node.lineno, *decorators]) - 1 : node.end_lineno])


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, Key | str]:
    module = getattr(node, "module", None) or ""
    if module == "__future__":
        return {}
    if module.startswith(PACKAGE):
        part = module.removeprefix(PACKAGE)
        return {alias.asname or alias.name: (part, alias.name) for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {alias.name: f"from {module} import {alias.name}" for alias in node.names}
    return {alias.name: f"import {alias.name}" for alias in node.names}


def _sorted_imports(statements: set[str]) -> list[str]:
    """Standard library, a blank line, the rest; names of one module on one line."""
    plain = sorted(line for line in statements if line.startswith("import "))
    members: dict[str, list[str]] = {}
    for line in sorted(statements - set(plain)):
        module, name = line.removeprefix("from ").split(" import ")
        members.setdefault(module, []).append(name)
    joined = [f"from {module} import {', '.join(members[module])}" for module in sorted(members)]
    standard = [line for line in plain + joined if _top(line) in sys.stdlib_module_names]
    others = [line for line in plain + joined if _top(line) not in sys.stdlib_module_names]
    return [*standard, *([""] if standard and others else []), *others]


def _top(statement: str) -> str:
    return statement.split()[1].split(".")[0]
