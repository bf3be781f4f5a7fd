"""Small mistakes planted in a source: one changed comparison, number, operator or statement.

Annotations, f-strings and `if TYPE_CHECKING` are left alone: they decide nothing. Text is too.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,), ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,), ast.Pow: (ast.Mult,), ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,), ast.LShift: (ast.RShift,),
}  # fmt: skip
NAMES = [("min", "max"), ("any", "all"), ("amin", "amax"), ("ceil", "floor"), ("argmin", "argmax"),
         ("minimum", "maximum"), ("isnan", "isinf")]  # fmt: skip
OTHER_NAME = {**dict(NAMES), **{two: one for one, two in NAMES}}
DELETED = (ast.AugAssign, ast.Raise, ast.Break, ast.Continue)
CONDITIONED = (ast.If, ast.IfExp, ast.While)


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake. `key` names it without a line number: function, line, change.

    `code_line` is the first line of the function that holds it; 0 outside of functions."""

    key: str
    line: int
    code_line: int
    original: ast.Module
    old: ast.AST
    new: ast.AST

    @property
    def tree(self) -> ast.Module:
        """The module with the mistake."""
        return _replaced(self.original, self.old, self.new)


def mutants(source: str) -> Iterator[Mutant]:
    """All mutants of a module, in the order of its lines."""
    original, lines, seen = ast.parse(source), source.splitlines(), Counter[str]()
    places = sorted(_places(original, "module", 0), key=lambda place: place[0].lineno)
    for node, where, code_line in places:
        for changed in _changes(node):
            line = lines[node.lineno - 1].partition("  #")[0].strip()
            text = f"{where} | {line} | {_text(node)} -> {_text(changed)}"
            seen[text] += 1
            key = text if seen[text] == 1 else f"{text} #{seen[text]}"
            yield Mutant(key, node.lineno, code_line, original, node, changed)


def _places(node: ast.AST, where: str, code_line: int) -> Iterator[tuple[ast.AST, str, int]]:
    """The nodes that may change, each with the function or class that it stands in."""
    if isinstance(node, ast.JoinedStr) or _only_types(node):
        return
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        where = node.name if where == "module" else f"{where}.{node.name}"
        if isinstance(node, ast.FunctionDef) and not code_line:
            code_line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    if hasattr(node, "lineno"):
        yield node, where, code_line
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _places(child, where, code_line)


def _only_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """The node with a mistake in it: each of those that this kind of node can have."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in OPERATORS.get(type(operator), ()):
                yield _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])
    elif isinstance(node, (ast.BinOp, ast.AugAssign)):
        for other in OPERATORS.get(type(node.op), ()):
            yield _with(node, op=other())
    elif isinstance(node, ast.BoolOp):
        for place in range(len(node.values)):
            kept = [*node.values[:place], *node.values[place + 1 :]]
            yield kept[0] if len(kept) == 1 else _with(node, values=kept)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _values(node.value))
    elif isinstance(node, ast.Name) and node.id in OTHER_NAME:
        yield _with(node, id=OTHER_NAME[node.id])
    elif isinstance(node, ast.Attribute) and node.attr in OTHER_NAME:
        yield _with(node, attr=OTHER_NAME[node.attr])
    elif isinstance(node, ast.keyword) and node.arg in ("min", "max"):
        yield _with(node, arg=OTHER_NAME[node.arg])
    elif isinstance(node, ast.Return) and node.value and not _falsy(node.value):
        yield _with(node, value=ast.Constant(None))
    if isinstance(node, CONDITIONED) and not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, DELETED) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, (ast.Constant, ast.Yield))
    ):
        yield ast.Pass()


def _values(value: object) -> list[object]:
    """Numbers a little off; the other truth value."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    return [value * 2, value / 2] if isinstance(value, float) and value else (
        [1.0] if isinstance(value, float) else []
    )  # fmt: skip


def _falsy(node: ast.AST) -> bool:
    """Whether None in its place would mean the same."""
    return isinstance(node, ast.Constant) and node.value in (None, False)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _text(node: ast.AST) -> str:
    """The first line: a condition's body is not part of what changes."""
    return ast.unparse(node).splitlines()[0]


def _replaced(tree: ast.Module, old: ast.AST, new: ast.AST) -> ast.Module:
    """A copy of the tree with one node for another."""

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if node is old:
                return ast.copy_location(new, old)
            changed = _with(node)
            for name, value in ast.iter_fields(node):
                if isinstance(value, ast.AST):
                    setattr(changed, name, self.visit(value))
                elif isinstance(value, list):
                    items = [self.visit(v) if isinstance(v, ast.AST) else v for v in value]
                    setattr(changed, name, items)
            return changed

    return ast.fix_missing_locations(Replace().visit(tree))
