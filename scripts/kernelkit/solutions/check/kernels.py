"""Triton kernels as text: which parameters they store into."""

from __future__ import annotations

import ast

from kernelkit.solutions.check.syntax import Function, method_of, positional

STORES = ("store", "atomic_add", "atomic_max", "atomic_min", "atomic_xchg", "atomic_cas")


def stored_parameters(kernel: Function) -> tuple[set[str], set[str]]:
    """(parameters stored into, of these the ones that atomics add to)."""
    origins = _origins(kernel)
    stored: set[str] = set()
    added: set[str] = set()
    for call in (n for n in ast.walk(kernel) if isinstance(n, ast.Call)):
        if method_of(call) in STORES and call.args:
            found = _parameters(call.args[0], origins)
            stored |= found
            if method_of(call).startswith("atomic_") and method_of(call) != "atomic_xchg":
                added |= found
    return stored, added


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
