"""Triton kernels as text: which parameters they store into, by themselves or through helpers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kernelkit.solutions.check.syntax import Function, Module, method_of, positional

STORES = ("store", "atomic_add", "atomic_max", "atomic_min", "atomic_xchg", "atomic_cas")
MOST_HELPERS = 4  # one within the other

Own = tuple[Module, Function]


def own_function(module: Module, called: ast.expr, known: dict[str, Module]) -> Own | None:
    """The solution's own function that an expression in a module names, with its module."""
    if isinstance(called, ast.Name) and called.id in module.functions:
        return module, module.functions[called.id]
    dotted = module.dotted(called)
    return module.resolve(dotted, known) if dotted else None


def stored_parameters(
    kernel: Own, known: dict[str, Module], depth: int = 0
) -> tuple[set[str], set[str]]:
    """(parameters stored into, of these the ones that atomics add to)."""
    module, function = kernel
    origins = _origins(function)
    stored: set[str] = set()
    added: set[str] = set()
    for call in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
        if method_of(call) in STORES and call.args:
            found = _parameters(call.args[0], origins)
            stored |= found
            if method_of(call).startswith("atomic_") and method_of(call) != "atomic_xchg":
                added |= found
        elif depth < MOST_HELPERS and (helper := own_function(module, call.func, known)):
            written, summed = stored_parameters(helper, known, depth + 1)
            for name, given in _given(helper[1], call):
                stored |= _parameters(given, origins) if name in written else set()
                added |= _parameters(given, origins) if name in summed else set()
    return stored, added


def _given(function: Function, call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Parameters of a function, with what a call gives for them."""
    yield from zip(positional(function), call.args, strict=False)
    yield from ((word.arg, word.value) for word in call.keywords if word.arg)


def _origins(kernel: Function) -> dict[str, set[str]]:
    """For each variable the parameters that its value is computed from, but not through a load."""
    origins = {name: {name} for name in positional(kernel)}
    origins |= {a.arg: {a.arg} for a in kernel.args.kwonlyargs}
    for _ in range(2):  # a second time for what a loop carries
        for node in ast.walk(kernel):
            if isinstance(node, ast.Assign):
                found = _parameters(node.value, origins)
                for target in node.targets:
                    for name in (n for n in ast.walk(target) if isinstance(n, ast.Name)):
                        origins[name.id] = origins.get(name.id, set()) | found
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
                origins[name] = origins.get(name, set()) | _parameters(node.value, origins)
    return origins


def _parameters(node: ast.AST, origins: dict[str, set[str]]) -> set[str]:
    if isinstance(node, ast.Call) and method_of(node) == "load":
        return set()
    if isinstance(node, ast.Name):
        return origins.get(node.id, set())
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        found |= _parameters(child, origins)
    return found
