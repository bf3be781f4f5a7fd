"""Python sources parsed as far as they are read: a function's body when it is first looked at.

A model's static analysis reads some 300 files of SGLang and runs one function in ten of them, and
parsing was a third of its time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

_DEF = re.compile(r"^(?: {4}|\t)?(?:async )?def ", re.MULTILINE)  # of a module or a class
_HEADER_END = re.compile(r"\)\s*(?:->[^:]*)?:[ \t]*(?:#.*)?\n")
_SECOND = re.compile(r"\n[ \t]*(?:(?:async )?def|class|if|for|with) ")
_LEFT = {indent: re.compile(rf"^[ \t]{{0,{indent}}}[^\s#]", re.MULTILINE) for indent in (0, 1, 4)}
_BLOCKS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Module: ("body",), ast.ClassDef: ("body",), ast.If: ("body", "orelse"), ast.With: ("body",),
    ast.Try: ("body", "handlers", "orelse", "finalbody"), ast.ExceptHandler: ("body",),
    ast.For: ("body", "orelse"), ast.While: ("body", "orelse"),
}  # fmt: skip
_CODE = re.compile(r"^[ \t]*[^\s#]", re.MULTILINE)


def parse(source: bytes) -> ast.Module:
    """The syntax tree of a file, as `ast.parse` gives it; bodies are parsed when they are read.

    A body that does not parse is empty. Raises SyntaxError or ValueError where the rest does not.
    """
    try:
        return _outlined(source.decode("utf-8"))
    except (UnicodeDecodeError, SyntaxError, _OutlineError):
        return ast.parse(source)


def mentions(function: ast.FunctionDef | ast.AsyncFunctionDef, word: str) -> bool:
    """Whether a function's body may hold `word`; True where it is parsed already."""
    text = function.body.text if isinstance(function.body, Body) else None
    return text is None or word in text


class _OutlineError(Exception):
    """The bodies were not found by their indentation (a string reaches further left)."""


class Body(list[ast.stmt]):
    """The statements of a function; `text` is their source until somebody looks at them."""

    def __init__(self, text: str, line: int) -> None:
        self.text: str | None = text
        self._line = line

    def _load(self) -> None:
        text, self.text = self.text, None
        if text is None:
            return
        try:  # `await` and `return` may stand in an async function; lines keep their numbers
            module = ast.parse("\n" * (self._line - 2) + "async def _():\n" + text)
        except (SyntaxError, ValueError):
            return
        self.extend(module.body[0].body)  # type: ignore[attr-defined]

    def __iter__(self) -> Iterator[ast.stmt]:
        self._load()
        return super().__iter__()

    def __len__(self) -> int:
        self._load()
        return super().__len__()

    def __getitem__(self, key: Any) -> Any:
        self._load()
        return super().__getitem__(key)


def _outlined(text: str) -> ast.Module:
    """The tree of the source without its bodies, with a Body for each of them."""
    kept: list[str] = []
    bodies: dict[int, Body] = {}
    at, line = 0, 1
    for start, end in _spans(text):
        head, body = text[at:start], text[start:end]
        first = line + head.count("\n")
        last = first + body.count("\n", 0, _last_code(body))
        if body.count('"""') % 2 or body.count("'''") % 2:
            raise _OutlineError
        bodies[last] = Body(body, first)
        at, line = end, first + body.count("\n")
        kept += [head, "\n" * (last - first), " " * 9, "...", "\n" * (line - last)]
    module = ast.parse("".join([*kept, text[at:]]))
    for function in _functions(module):
        body_of = bodies.pop(function.body[0].lineno, None)
        if body_of is not None:
            function.body = body_of
    if bodies:
        raise _OutlineError
    return module


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the bodies of the functions of the module and of its classes begin and end."""
    at = 0
    while found := _DEF.search(text, at):
        begin = found.start()
        indent = len(found[0]) - len(found[0].lstrip(" \t"))
        header = _HEADER_END.search(text, begin)
        if header is None:
            return
        at = header.end()
        if _SECOND.search(text, begin, at):  # a function on one line: it has no block
            at = found.end()
            continue
        left = _LEFT[indent].search(text, at)
        end = left.start() if left else len(text)
        if end > at:
            yield at, end
        at = end


def _last_code(body: str) -> int:
    """The place of the last line that is neither empty nor a comment."""
    at = len(body)
    while at > 0:
        at = body.rfind("\n", 0, at - 1) + 1
        if _CODE.match(body, at):
            return at
        at = at or -1
    raise _OutlineError


def _functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a module, of its classes, and of the blocks of both."""
    left: list[Any] = [module]
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
            continue
        for name in _BLOCKS.get(type(node), ()):
            left += getattr(node, name)
