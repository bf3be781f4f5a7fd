"""TypeScript source -> syntax tree -> values, with tree-sitter.

tree-sitter's grammar knows what a hand-written scanner gets wrong: comments, regular expressions,
template literals, type annotations, `satisfies`. Its two wheels are 1 MB and depend on nothing; the
TypeScript compiler itself would need Node on every machine that adds a model. All offsets are in
bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kernelkit.errors import FormatError, MissingDependencyError

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

# Wrappers around an expression that change its type, not its value.
_WRAPPERS = ("satisfies_expression", "as_expression", "parenthesized_expression",
             "non_null_expression")  # fmt: skip
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.S
)


class NotLiteral(Exception):
    """An expression whose value only running the program would show."""


def parse(data: bytes, *, name: str, jsx: bool = False) -> Tree:
    """The syntax tree of a source file. Raises FormatError (with the line) where it has an error,
    MissingDependencyError without tree-sitter."""
    try:
        import tree_sitter
        import tree_sitter_typescript
    except ImportError:
        raise MissingDependencyError(
            "reading TypeScript needs tree-sitter",
            next_step="pip install tree-sitter tree-sitter-typescript",
        ) from None
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{name} is not UTF-8: {error}") from None
    grammar = tree_sitter_typescript
    language = grammar.language_tsx() if jsx else grammar.language_typescript()
    tree = tree_sitter.Parser(tree_sitter.Language(language)).parse(data)
    if tree.root_node.has_error:
        row = _first_error(tree.root_node)
        raise FormatError(
            f"{name} is not valid TypeScript", received=f"a syntax error at line {row + 1}",
            next_step="repair the file, then run this again; nothing was changed",
        )  # fmt: skip
    return tree


def _first_error(node: Node) -> int:
    """The row of the first wrong or missing token."""
    while not (node.is_error or node.is_missing):
        bad = next((child for child in node.children if child.has_error), None)
        if bad is None:
            break
        node = bad
    return node.start_point[0]


def source(node: Node) -> str:
    """The node's text."""
    return (node.text or b"").decode("utf-8")


def named(node: Node) -> list[Node]:
    """The named children but comments."""
    return [child for child in node.named_children if child.type != "comment"]


def unwrapped(node: Node) -> Node:
    """The expression inside `satisfies`, `as`, parentheses and `!`."""
    while True:
        if node.type in _WRAPPERS:
            node = named(node)[0]
        elif node.type == "type_assertion":  # <Model[]>[...]
            node = named(node)[-1]
        else:
            return node


def pairs(node: Node) -> Iterator[tuple[str | None, Node]]:
    """The members of an object: (key, value); key None for spreads, methods and computed keys. The
    value of a shorthand is its name."""
    for member in named(node):
        if member.type == "pair":
            key, value = member.child_by_field_name("key"), member.child_by_field_name("value")
            if key is not None and value is not None:
                yield _key(key), value
                continue
        if member.type == "shorthand_property_identifier":
            yield source(member), member
            continue
        yield None, member


def _key(node: Node) -> str | None:
    if node.type == "computed_property_name":
        node = named(node)[0]
    if node.type == "property_identifier":
        return source(node)
    try:
        return str(value_of(node))
    except NotLiteral:
        return None


def value_of(node: Node) -> Any:
    """The value of a literal expression as JSON types. Raises NotLiteral for any other."""
    node = unwrapped(node)
    if node.type == "string":
        return _unescaped(source(node)[1:-1])
    if node.type == "template_string" and not any(
        child.type == "template_substitution" for child in node.children
    ):
        return _unescaped(source(node)[1:-1])
    if node.type == "number":
        return _number(source(node))
    if node.type in _WORDS:
        return _WORDS[node.type]
    if node.type == "array":
        return [value_of(child) for child in named(node)]
    if node.type == "object":
        return _object(node)
    raise NotLiteral(node.type)


def _object(node: Node) -> dict[str, Any]:
    found = {}
    for key, value in pairs(node):
        if key is None:
            raise NotLiteral(value.type)
        found[key] = value_of(value)
    return found


def _number(text: str) -> int | float:
    plain = text.replace("_", "")
    try:
        return int(plain, 0)
    except ValueError:
        try:
            return json.loads(plain)
        except ValueError:
            raise NotLiteral(text) from None


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code:
            return chr(int(code, 16))
        return "" if match[4] in ("\n", "\r\n") else _ESCAPES.get(match[4], match[4])

    # A pair of \\u escapes outside the basic plane is one character.
    return _ESCAPE.sub(one, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
