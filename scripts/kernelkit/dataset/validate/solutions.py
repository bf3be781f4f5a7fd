"""Checks of one solution file: its place, its sources, its entry point."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, Language, Solution, SourceFile
from kernelkit.dataset.validate.definitions import Problem, syntax_fault, unknown

PYTHONS = (Language.PYTHON, Language.TRITON, Language.TILELANG)


def check_solution_document(document: dict[str, Any], twice: list[str]) -> Iterator[Problem]:
    """Unknown and repeated (`twice`) keys of the raw document, and paths that no model holds."""
    for key in twice:
        yield "S10", key, f"{key!r} occurs twice", "keep one"
    yield from unknown(document, Solution, "")
    if isinstance(document.get("spec"), dict):
        yield from unknown(document["spec"], BuildSpec, "spec.")
    held = document.get("sources")
    sources = [s for s in held if isinstance(s, dict)] if isinstance(held, list) else []
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


def check_solution(solution: Solution, definition: Definition | None) -> Iterator[Problem]:
    """Faults of a solution that loads; those of its arguments where its definition is known."""
    is_python = solution.spec.language in PYTHONS
    for number, source in enumerate(solution.sources):
        is_entry = is_python and source.path == solution.spec.entry_file
        if not is_entry and not source.path.endswith(".py"):
            continue
        if fault := syntax_fault(source.content):
            yield "L5", f"sources[{number}]", f"{source.path}: {fault}", "mend the syntax"
        elif is_entry:
            yield from _entry(solution, definition, ast.parse(source.content))
    if not is_python and not _named(solution):
        yield _no_entry(solution)


def _named(solution: Solution) -> bool:
    """Whether any source of a compiled language names the entry symbol: includes are possible."""
    word = re.compile(rf"\b{re.escape(solution.spec.entry_symbol)}\b")
    return bool(solution.spec.entry_symbol) and any(
        word.search(s.content) for s in solution.sources
    )


def _no_entry(solution: Solution) -> Problem:
    text = f"{solution.spec.entry_file} defines no {solution.spec.entry_symbol!r}"
    return "L6", "spec.entry_point", text, "define it at top level"


def _entry(
    solution: Solution, definition: Definition | None, tree: ast.Module
) -> Iterator[Problem]:
    symbol = solution.spec.entry_symbol
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == symbol]
    if not found:
        if not _bound_otherwise(tree, symbol):
            yield _no_entry(solution)
    elif definition is not None:
        yield from _arguments(solution, definition, found[-1].args)


def _arguments(
    solution: Solution, definition: Definition, arguments: ast.arguments
) -> Iterator[Problem]:
    symbol, place = solution.spec.entry_symbol, "spec.entry_point"
    wanted = len(definition.inputs)
    if solution.spec.destination_passing_style:
        wanted += len(definition.outputs)
    positional = len(arguments.posonlyargs) + len(arguments.args)
    required = positional - len(arguments.defaults)
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if needed := [argument.arg for argument, default in pairs if default is None]:
        text = f"{symbol} needs {', '.join(needed)} by keyword"
        yield "L7", place, text, "arguments are passed by position"
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
