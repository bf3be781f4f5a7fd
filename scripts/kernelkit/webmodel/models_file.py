"""models.ts: where its array of models is, what its entries hold, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.errors import FormatError
from kernelkit.webmodel.syntax import NotLiteral, named, pairs, parse, source, unwrapped, value_of
from kernelkit.webmodel.typescript import Style

if TYPE_CHECKING:
    from tree_sitter import Node

_EXPECTED = "one array of models, e.g. `const models: Model[] = [...]; export default models`"


@dataclass(frozen=True)
class Held:
    """One entry of the file. start and end are byte offsets of its object."""

    id: str
    node: Node

    def member(self, key: str) -> Node | None:
        """The value of a member, None where the object has no such key in plain sight."""
        return next((value for name, value in pairs(self.node) if name == key), None)

    def text(self, key: str) -> str | None:
        """A member that is a string literal."""
        value = self.literal(key)
        return value if isinstance(value, str) else None

    def literal(self, key: str) -> Any:
        """A member's value, None where it is absent or no literal."""
        member = self.member(key)
        try:
            return None if member is None else value_of(member)
        except NotLiteral:
            return None

    def is_spread(self) -> bool:
        """Whether a spread or a computed key may bring members that are not in sight."""
        return any(name is None for name, _ in pairs(self.node))


class ModelsFile:
    """A parsed models.ts."""

    def __init__(self, data: bytes, name: str) -> None:
        """Raises FormatError where the file is no TypeScript or has not one array of models."""
        self.data = data
        self.name = name
        self.root = parse(data, name=name, jsx=name.endswith("x")).root_node
        bound = dict(_declared(self.root))
        self.array = _find_array(self.root, bound, name)
        self.entries = list(_entries(self.array, bound))

    def entry(self, model_id: str) -> Held | None:
        """The entry of this id. Raises FormatError where several have it."""
        found = [held for held in self.entries if held.id == model_id]
        if len(found) > 1:
            rows = ", ".join(str(held.node.start_point[0] + 1) for held in found)
            raise FormatError(
                f"{self.name}: several entries have one id", received=f"{model_id} at lines {rows}",
                next_step="delete all but one of them",
            )  # fmt: skip
        return found[0] if found else None

    def style(self) -> Style:
        """Indent, quotes and newlines as the first entry and the file have them."""
        newline = "\r\n" if b"\r\n" in self.data else "\n"
        quote = self._quote()
        outer = self.indent_of(self.array)
        node = next((held.node for held in self.entries if self._inside(held.node)), None)
        if node is None:
            return Style(f"{outer}  ", "  ", quote, newline)
        indent = self.indent_of(node)
        members = named(node)
        inner = self.indent_of(members[0]) if members else ""
        if not inner.startswith(indent) or inner == indent:
            return Style(f"{outer}  ", "  ", quote, newline)
        return Style(indent, inner.removeprefix(indent), quote, newline)

    def indent_of(self, node: Node) -> str:
        """The white space that begins the node's line."""
        start = self.data.rfind(b"\n", 0, node.start_byte) + 1
        return re.match(r"[ \t]*", self.data[start : node.start_byte].decode("utf-8"))[0]  # type: ignore[index]

    def _inside(self, node: Node) -> bool:
        return self.array.start_byte < node.start_byte < self.array.end_byte

    def _quote(self) -> str:
        ids = [held.member("id") for held in self.entries]
        first = [source(unwrapped(node))[:1] for node in ids if node is not None]
        return "'" if first.count("'") > first.count('"') else '"'


def _find_array(root: Node, bound: Mapping[str, Node], name: str) -> Node:
    """What the file exports by default; where that is no array, `models`, or its only array of
    models."""
    exported = _default_export(root)
    array = _array(exported, bound) if exported is not None else None
    if array is not None:
        return array
    found = {key: array for key, value in bound.items() if (array := _array(value, bound))}
    if "models" in found:
        return found["models"]
    arrays = {array.start_byte: array for array in found.values() if any(_entries(array, bound))}
    if len(arrays) != 1:
        raise FormatError(
            f"{name}: not one array of models", received=f"{len(arrays)} arrays", allowed=_EXPECTED
        )
    return next(iter(arrays.values()))


def _declared(root: Node) -> Iterator[tuple[str, Node]]:
    """The variables of the file's top level, with what they are set to."""
    for statement in named(root):
        declaration = statement.child_by_field_name("declaration") or statement
        if declaration.type not in ("lexical_declaration", "variable_declaration"):
            continue
        for declarator in named(declaration):
            name = declarator.child_by_field_name("name")
            value = declarator.child_by_field_name("value")
            if name is not None and value is not None:
                yield source(name), value


def _default_export(root: Node) -> Node | None:
    """The expression of `export default x` or `export { x as default }`."""
    for statement in named(root):
        if statement.type != "export_statement":
            continue
        if any(child.type == "default" for child in statement.children):
            return statement.child_by_field_name("value")
        for clause in (child for child in named(statement) if child.type == "export_clause"):
            for specifier in named(clause):
                alias = specifier.child_by_field_name("alias")
                if alias is not None and source(alias) == "default":
                    return specifier.child_by_field_name("name")
    return None


def _resolved(node: Node, bound: Mapping[str, Node]) -> Node | None:
    """What an expression is, through the names that the file binds and through wrappers; None for
    a name from elsewhere."""
    for _ in range(len(bound) + 1):
        node = unwrapped(node)
        if node.type not in ("identifier", "shorthand_property_identifier"):
            return node
        if source(node) not in bound:
            return None
        node = bound[source(node)]
    return None


def _array(node: Node, bound: Mapping[str, Node]) -> Node | None:
    found = _resolved(node, bound)
    return found if found is not None and found.type == "array" else None


def _entries(array: Node, bound: Mapping[str, Node], depth: int = 0) -> Iterator[Held]:
    """The entries of an array, also those that it names or spreads, as far as the file has them."""
    for element in named(array):
        if element.type == "spread_element":
            more = _resolved(named(element)[0], bound)
            if more is not None and more.type == "array" and depth < len(bound):
                yield from _entries(more, bound, depth + 1)
            continue
        node = _resolved(element, bound)
        if node is not None and node.type == "object":
            model_id = _id_of(node, bound)
            if model_id is not None:
                yield Held(model_id, node)


def _id_of(node: Node, bound: Mapping[str, Node]) -> str | None:
    """The `id` of an entry: a literal, or the name of one."""
    value = Held("", node).member("id")
    found = _resolved(value, bound) if value is not None else None
    try:
        model_id = value_of(found) if found is not None else None
    except NotLiteral:
        return None
    return model_id if isinstance(model_id, str) else None
