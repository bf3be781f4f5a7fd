"""A dumped reference as a program: its main function, what it returns, what it changes, helpers.

The main function is the last top-level one: the tracer puts helpers before it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kernelkit.capture.normalize.raw import Refusal
from kernelkit.dataset.validate.definitions import syntax_fault
from kernelkit.dataset.validate.references import unresolved

PREAMBLE = "import math\nimport torch\nimport torch.nn.functional as F\n"
# Attributes that read no element: a buffer of which only these are used is written, not read.
_FACTS = ("dtype", "shape", "device", "ndim", "dim", "size", "numel", "is_cuda")
_WRITES = ("copy_", "fill_", "zero_")


@dataclass(frozen=True)
class Parameter:
    """A parameter of the main function."""

    name: str
    keyword_only: bool
    default: str | None  # as text; None: there is none


@dataclass(frozen=True)
class Program:
    """The reference's text, parsed."""

    text: str
    module: ast.Module
    main: ast.FunctionDef

    @property
    def parameters(self) -> list[Parameter]:
        """The main function's parameters, without *args and **kwargs."""
        arguments = self.main.args
        plain = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
        found = [
            Parameter(a.arg, False, ast.unparse(d) if d else None)
            for a, d in zip(plain, defaults, strict=True)
        ]
        pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        return found + [Parameter(a.arg, True, ast.unparse(d) if d else None) for a, d in pairs]

    @property
    def open_ended(self) -> bool:
        """Whether the main function takes *args or **kwargs."""
        return bool(self.main.args.vararg or self.main.args.kwarg)

    def returned(self) -> int | None:
        """How many values it returns: 0 for none, None where its returns disagree or hide it."""
        counts = set()
        for node in _own(self.main):
            if isinstance(node, ast.Return):
                counts.add(_count(node.value))
        if not counts:
            return 0
        return counts.pop() if len(counts) == 1 else None

    def only_written(self, name: str) -> bool:
        """Whether the main function reads no element of this parameter."""
        nodes = list(ast.walk(self.main))
        parents = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
        uses = [n for n in nodes if isinstance(n, ast.Name) and n.id == name]
        return all(_is_write(use, parents) for use in uses)

    def writes(self, name: str) -> bool:
        """Whether the main function writes into this parameter, as far as its text shows."""
        for node in ast.walk(self.main):
            target: ast.AST | None = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                target = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr.endswith("_") and not node.func.attr.endswith("__"):
                    target = node.func.value
            while isinstance(target, (ast.Subscript, ast.Attribute)):
                target = target.value
            if isinstance(target, ast.Name) and target.id == name:
                return True
        return False


def parse(text: object) -> Program:
    """The program. Raises Refusal where there is no reference, or none that compiles."""
    if not isinstance(text, str) or not text.strip():
        raise Refusal("no-reference", "the template carries no reference")
    if fault := syntax_fault(text):
        raise Refusal("reference-syntax", f"the reference is not Python: {fault}")
    module = ast.parse(text)
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    if not functions:
        raise Refusal("no-reference", "the reference defines no function")
    return Program(text, module, functions[-1])


def complete(text: str, flashinfer: Path | None) -> tuple[str, list[str]]:
    """The text with the imports and helpers that it needs, and the names of those added.

    Dumps before 0.6.12 lack the imports. Helpers that a template forgot to name are taken from the
    sources of the FlashInfer at hand. Raises Refusal where a name stays undefined.
    """
    missing = unresolved(text)
    if {"math", "torch", "F"} & set(missing):
        text = _after_future(text, PREAMBLE)
        missing = unresolved(text)
    added: list[str] = []
    while missing:
        sources = [_helpers(flashinfer).get(name) for name in missing] if flashinfer else [None]
        if None in sources:
            where = f"nor do the templates of {flashinfer.name}" if flashinfer else ""
            where = where or "give --flashinfer-path to take them from its sources"
            raise Refusal(
                "reference-incomplete",
                f"the reference calls {', '.join(missing)}, which the dump does not have; {where}",
            )
        added += missing
        text = _after_future(text, "\n".join(f"{s}\n" for s in sources if s))
        missing = [name for name in unresolved(text) if name not in added]
    return text, added


def with_torch(text: str) -> str:
    """The text, which imports torch where it uses it."""
    return _after_future(text, PREAMBLE) if "torch" in unresolved(text) else text


def rename_main(program: Program, name: str) -> str:
    """The text with the main function, and what calls it, under another name.

    Raises Refusal where another top-level name is `run` already.
    """
    old = program.main.name
    if old == name:
        return program.text
    taken = {n.name for n in program.module.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    if name in taken:
        raise Refusal("reference-names", f"a helper of the reference is named {name}")
    lines = program.text.splitlines(keepends=True)
    places = [
        (n.lineno, n.col_offset)
        for n in ast.walk(program.module)
        if isinstance(n, ast.Name) and n.id == old
    ]
    head = program.main.lineno
    column = len(lines[head - 1].encode()[: len(b"def ")])
    for line, start in sorted({*places, (head, column)}, reverse=True):
        raw = lines[line - 1].encode()
        if raw[start : start + len(old.encode())] == old.encode():
            raw = raw[:start] + name.encode() + raw[start + len(old.encode()) :]
            lines[line - 1] = raw.decode()
    return "".join(lines)


def _after_future(text: str, added: str) -> str:
    """`added` put in before the first statement that is no docstring and no future import."""
    body = ast.parse(text).body
    lines = text.splitlines(keepends=True)
    place = 0
    for number, node in enumerate(body):
        doc = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        imports = isinstance(node, (ast.Import, ast.ImportFrom))
        if not doc and not imports:
            break
        place = node.end_lineno or node.lineno
    return "".join([*lines[:place], *(["\n"] if place else []), added, "\n", *lines[place:]])


def _own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The function's nodes without those of functions in it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            pending += list(ast.iter_child_nodes(node))


def _count(value: ast.expr | None) -> int | None:
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return 0
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return None  # a helper's result may be a tuple
    return len(value.elts) if isinstance(value, (ast.Tuple, ast.List)) else 1


def _is_write(use: ast.Name, parents: dict[ast.AST, ast.AST]) -> bool:
    """`x[...] = `, `x.copy_()`, `x.dtype`: nothing of x's contents is read."""
    parent = parents.get(use)
    if isinstance(parent, ast.Subscript) and parent.value is use:
        return isinstance(parent.ctx, ast.Store) and not isinstance(
            parents.get(parent), ast.AugAssign
        )
    return isinstance(parent, ast.Attribute) and parent.attr in (*_FACTS, *_WRITES)


@functools.cache
def _helpers(flashinfer: Path) -> dict[str, str]:
    """Top-level functions and constants of FlashInfer's template sources, by name."""
    found: dict[str, str] = {}
    for path in sorted((flashinfer / "flashinfer" / "trace" / "templates").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            for name in _defined(node):
                found.setdefault(name, _segment(text, node))
    return found


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    return []


def _segment(text: str, node: ast.stmt) -> str:
    """The node's source with its decorators."""
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
