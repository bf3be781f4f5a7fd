"""Checks of one solution file: its place, its sources, its entry point."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, Language, Solution, SourceFile
from kernelkit.dataset.validate.definitions import Problem, unknown


def check_solution_document(document: dict[str, Any]) -> Iterator[Problem]:
    """Unknown fields of the raw document, and source paths that no model can hold."""
    yield from unknown(document, Solution, "")
    if isinstance(document.get("spec"), dict):
        yield from unknown(document["spec"], BuildSpec, "spec.")
    sources = [s for s in document.get("sources") or [] if isinstance(s, dict)]
    for number, source in enumerate(sources):
        yield from unknown(source, SourceFile, f"sources[{number}].")
    yield from _paths([str(source.get("path", "")) for source in sources])


def _paths(paths: list[str]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, path in enumerate(paths):
        field = f"sources[{number}].path"
        if path.startswith("/") or "\\" in path or ".." in PurePosixPath(path).parts:
            yield "L4", field, f"{path!r} leaves the solution", "a relative path with /"
        normal = PurePosixPath(path).as_posix()
        if normal in seen:
            text = f"{path!r} is the same file as sources[{seen[normal]}]"
            yield "L4", field, text, "one entry for each file"
        seen.setdefault(normal, number)
    for normal, number in seen.items():
        parents = [parent.as_posix() for parent in PurePosixPath(normal).parents]
        if clash := [parent for parent in parents if parent in seen]:
            text = f"{clash[0]!r} is a file and a folder"
            yield "L4", f"sources[{number}].path", text, "rename one"


def check_solution(solution: Solution, definition: Definition) -> Iterator[Problem]:
    """Faults of a solution that loads, for its definition."""
    trees: dict[str, ast.Module] = {}
    for number, source in enumerate(solution.sources):
        if source.path.endswith(".py"):
            try:
                trees[source.path] = ast.parse(source.content)
            except SyntaxError as error:
                text = f"{source.path}:{error.lineno}: {error.msg}"
                yield "L5", f"sources[{number}]", text, "mend the syntax"
    if solution.spec.language in (Language.PYTHON, Language.TRITON, Language.TILELANG):
        tree = trees.get(solution.spec.entry_file)
        if tree is not None:
            yield from _entry(solution, definition, tree)


def _entry(solution: Solution, definition: Definition, tree: ast.Module) -> Iterator[Problem]:
    symbol, place = solution.spec.entry_symbol, "spec.entry_point"
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == symbol]
    if not found:
        if not _bound_otherwise(tree, symbol):
            text = f"{solution.spec.entry_file} defines no {symbol}"
            yield "L6", place, text, "define it at top level"
        return
    arguments = found[-1].args
    wanted = len(definition.inputs)
    if solution.spec.destination_passing_style:
        wanted += len(definition.outputs)
    positional = len(arguments.posonlyargs) + len(arguments.args)
    required = positional - len(arguments.defaults)
    if not required <= wanted or (wanted > positional and not arguments.vararg):
        style = "inputs and outputs" if solution.spec.destination_passing_style else "inputs"
        text = f"{symbol} takes {positional} arguments, {wanted} are passed ({style})"
        yield "L7", place, text, "match the definition, or set destination_passing_style"


def _bound_otherwise(tree: ast.Module, symbol: str) -> bool:
    """Whether the module binds the name by assignment, import or a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == symbol:
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if symbol in [alias.asname or alias.name for alias in node.names]:
                return True
        if isinstance(node, ast.ClassDef) and node.name == symbol:
            return True
    return False
