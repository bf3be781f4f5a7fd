"""What one Python source imports from FlashInfer, and where it calls a name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from kernelkit import lazily

_LOOKED_AT = (ast.ImportFrom, ast.Attribute, ast.Call)


@dataclass(frozen=True)
class Import:
    """`from package... import name as local` in line `line`."""

    name: str
    local: str
    line: int
    package: str


@dataclass
class _Part:
    """The source outside of functions, or one function: its nodes, once somebody asks."""

    text: str | None  # what a word must stand in, for the part to be looked at; None: it is
    body: list[ast.stmt]
    nodes: list[ast.AST] | None = None


@dataclass
class Source:
    """One file. A file that does not parse imports and calls nothing."""

    data: bytes
    _parts: list[_Part] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            body = lazily.parse(self.data).body
        except (SyntaxError, ValueError):
            return
        outside = _Part(None, body)
        self._parts.append(outside)
        outside.nodes = list(self._walk(body))

    def imports(self, name: str) -> list[Import]:
        """Every import of `name`, and `flashinfer.name` where it is written out; by line."""
        found = [one for node in self._nodes(name) for one in _imports(node) if one.name == name]
        return sorted(found, key=lambda one: one.line)

    def first_call(self, name: str) -> int | None:
        """The first line that calls `name(...)` or `something.name(...)`."""
        lines = [
            n.lineno for n in self._nodes(name) if isinstance(n, ast.Call) and _called(n) == name
        ]
        return min(lines, default=None)

    def _nodes(self, word: str) -> Iterator[ast.AST]:
        """The nodes of every part that the word stands in."""
        for part in list(self._parts):
            if part.text is None or word in part.text:
                if part.nodes is None:
                    part.nodes = list(self._walk(part.body))
                yield from part.nodes

    def _walk(self, body: list[ast.stmt]) -> Iterator[ast.AST]:
        """The nodes that matter below some statements; functions not yet parsed become parts."""
        left: list[object] = list(body)
        while left:
            node = left.pop()
            if isinstance(node, _LOOKED_AT):
                yield node
            for value in vars(node).values():
                if isinstance(value, lazily.Body) and value.text is not None:
                    self._parts.append(_Part(value.text, value))
                elif isinstance(value, list):
                    left += [v for v in value if isinstance(v, ast.AST)]
                elif isinstance(value, ast.AST):
                    left.append(value)


def _imports(node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.ImportFrom):
        package = (node.module or "").partition(".")[0]
        for alias in node.names:
            yield Import(alias.name, alias.asname or alias.name, node.lineno, package)
    elif isinstance(node, ast.Attribute) and _root(node) == "flashinfer":
        yield Import(node.attr, node.attr, node.lineno, "flashinfer")
    elif isinstance(node, ast.Call):
        yield from _lazy_import(node)


def _lazy_import(node: ast.Call) -> Iterator[Import]:
    """`LazyImport("flashinfer.sampling", "name")` imports as an import statement does."""
    texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
    if len(texts) == 2 and all(isinstance(text, str) for text in texts):
        module, name = texts
        if module.partition(".")[0] == "flashinfer":
            yield Import(name, name, node.lineno, "flashinfer")


def _called(node: ast.Call) -> str | None:
    return getattr(node.func, "attr", None) or getattr(node.func, "id", None)


def _root(node: ast.AST) -> str:
    """The first name of a dotted expression: `flashinfer` of flashinfer.norm.rmsnorm."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
