"""One Python source as a tree with what the rules ask of it: imports, parents, functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath

Function = ast.FunctionDef
Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Module:
    """A parsed source. `path` is relative to the solution."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.tree = ast.parse(text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node, outer before inner."""
        return list(ast.walk(self.tree))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node that holds each node."""
        return {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    @cached_property
    def imports(self) -> dict[str, str]:
        """Local name -> dotted name: `F` -> torch.nn.functional. Relative names start with dots."""
        found = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.split(".")[0]
                    found[alias.asname or whole] = whole
            elif isinstance(node, ast.ImportFrom):
                prefix = "." * node.level + (node.module or "")
                for alias in node.names:
                    joint = "" if prefix.endswith(".") else "."
                    found[alias.asname or alias.name] = f"{prefix}{joint}{alias.name}"
        return found

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Top-level functions by name; the last definition counts."""
        return {n.name: n for n in self.tree.body if isinstance(n, ast.FunctionDef)}

    @cached_property
    def globals(self) -> dict[str, ast.expr | None]:
        """Variables bound at top level, with the expression that binds them."""
        found: dict[str, ast.expr | None] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    found |= {n.id: node.value for n in ast.walk(target) if isinstance(n, ast.Name)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = node.value
        return found

    @cached_property
    def calls(self) -> list[tuple[ast.Call, str]]:
        """Every call with its dotted name ("" where the function is no imported name)."""
        return [(n, self.dotted(n.func)) for n in self.nodes if isinstance(n, ast.Call)]

    def dotted(self, node: ast.AST) -> str:
        """`torch.nn.functional.pad` for F.pad; "" for what does not start at an import."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.imports:
            return ""
        return ".".join([self.imports[node.id], *reversed(parts)])

    def enclosing(self, node: ast.AST, kinds: tuple[type, ...]) -> Iterator[ast.AST]:
        """The nodes of these kinds around a node, inner before outer."""
        while (holder := self.parents.get(node)) is not None:
            if isinstance(holder, kinds):
                yield holder
            node = holder

    def is_kernel(self, function: ast.AST) -> bool:
        """Whether a decorator says that the function is device code (Triton, CuTe, TileLang)."""
        return any(
            name.endswith(("triton.jit", "triton.autotune", "triton.heuristics", "gluon.jit"))
            or name.startswith(("cutlass.cute.", "tilelang."))
            or name in ("triton.language.jit",)
            for name in map(self.dotted, self._decorators(function))
        )

    @staticmethod
    def _decorators(function: ast.AST) -> list[ast.AST]:
        held = getattr(function, "decorator_list", [])
        return [d.func if isinstance(d, ast.Call) else d for d in held]

    def resolve(self, dotted: str, known: dict[str, Module]) -> tuple[Module, Function] | None:
        """The function of the solution that a relative (or absolute) dotted name means."""
        file, name = own_file(self.path, dotted, known)
        if file is None or name not in known[file].functions:
            return None
        return known[file], known[file].functions[name]


def own_file(path: str, dotted: str, known: dict[str, Module]) -> tuple[str | None, str]:
    """(file, attribute) of an imported name: `.lib.impl.norm` from main.py is lib/impl.py, norm.

    The file is None where none of the solution is meant; the attribute is "" for a module.
    """
    level = len(dotted) - len(dotted.lstrip("."))
    base = PurePosixPath(path).parent if level else PurePosixPath(".")
    for _ in range(level - 1):
        base = base.parent
    parts = [part for part in dotted.lstrip(".").split(".") if part]
    for count in range(len(parts), max(0, len(parts) - 2), -1):
        stem = base.joinpath(*parts[:count]).as_posix()
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if file in known:
                return file, ".".join(parts[count:])
    return None, ""


def names_in(node: ast.AST | None) -> set[str]:
    """All variable names read or written in a tree."""
    return set() if node is None else {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((k.value for k in call.keywords if k.arg == name), None)


def method_of(call: ast.Call) -> str:
    """`view` for x.view(...); "" for a plain call."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def literal(node: ast.AST | None) -> object:
    """The value of a constant (also -1, 2 ** -0.5), else None."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        held = literal(node.operand)
        return -held if isinstance(held, (int, float)) else None
    return None


def positional(function: Function) -> list[str]:
    """Names of the parameters that an argument by position can reach."""
    return [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
