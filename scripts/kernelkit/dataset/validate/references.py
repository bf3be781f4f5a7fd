"""Static checks of a reference: parameters, names, imports, returns, changed inputs."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

from kernelkit.dataset.validate.definitions import Problem

_FLAGS = __future__.annotations.compiler_flag  # annotations are not evaluated when it runs


def check_reference(document: dict[str, Any]) -> Iterator[Problem]:
    """Faults of a reference that compiles and has a top-level `run`.

    Takes the raw document, so that a definition that does not load hides none of them.
    """
    inputs, outputs = document.get("inputs"), document.get("outputs")
    if not isinstance(inputs, dict) or not isinstance(outputs, dict):
        return
    module = ast.parse(document["reference"])
    run = [n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == "run"][-1]
    yield from _parameters(run.args, list(inputs))
    yield from _imports(module)
    missing = unresolved(document["reference"])
    if missing:
        text = f"nothing defines {', '.join(missing)}"
        yield "R4", "reference", text, "import or define it in the reference"
    yield from _results(run, len(outputs))
    scalars = {n for n, s in inputs.items() if isinstance(s, dict) and s.get("shape") is None}
    for name in sorted(_changed(run) - scalars):
        yield "R12", "reference", f"changes {name}", f"work on {name}.clone()"


def _parameters(arguments: ast.arguments, inputs: list[str]) -> Iterator[Problem]:
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if needed := [argument.arg for argument, default in pairs if default is None]:
        text = f"{', '.join(needed)} without a default"
        yield "R2", "reference", text, "inputs are passed by position: drop the *"
    if arguments.vararg or arguments.kwarg:
        yield "R3", "reference", "run takes *args or **kwargs", "name every input"
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
    required = len(names) - len(arguments.defaults)
    fits = names[: len(inputs)] == inputs and required <= len(inputs)
    if not fits and not (arguments.vararg and names == inputs[: len(names)]):
        text = f"run({', '.join(names)}) for inputs {', '.join(inputs)}"
        yield "R1", "reference", text, "name the inputs, in their order"


def _imports(module: ast.Module) -> Iterator[Problem]:
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    if "flashinfer" in found:
        yield "R5", "reference", "imports flashinfer", "write it in plain PyTorch"
    others = sorted(found - set(sys.stdlib_module_names) - {"torch", "flashinfer"})
    if others:
        yield "R13", "reference", f"imports {', '.join(others)}", "use torch and math only"


def unresolved(text: str) -> list[str]:
    """Global names that the text reads and nothing in it, nor Python, defines.

    An empty list where it imports `*`: what that brings is not known.
    """
    nodes = ast.walk(ast.parse(text))
    if any(isinstance(n, ast.ImportFrom) and n.names[0].name == "*" for n in nodes):
        return []
    code = compile(text, "reference", "exec", flags=_FLAGS, dont_inherit=True)
    read: set[str] = set()
    stored: set[str] = set()
    pending: list[CodeType] = [code]
    while pending:
        current = pending.pop()
        for step in dis.get_instructions(current):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                read.add(str(step.argval))
            elif step.opname == "STORE_GLOBAL" or step.opname == "STORE_NAME":
                stored.add(str(step.argval))
        pending += [const for const in current.co_consts if isinstance(const, CodeType)]
    return sorted(read - stored - set(dir(builtins)) - {"__name__", "__file__", "__doc__"})


def _own_nodes(run: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of run's body without those of nested functions and classes."""
    pending: list[ast.AST] = list(run.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            pending += list(ast.iter_child_nodes(node))


def _results(run: ast.FunctionDef, count: int) -> Iterator[Problem]:
    wrong = sorted({n for n in _returned(run) if n != count})
    fix = "return one value for each output, in order"
    if wrong:
        text = f"returns {' or '.join(map(str, wrong))} values, {count} outputs"
        yield "R6", "reference", text, fix
    returns = [n.value for n in _own_nodes(run) if isinstance(n, ast.Return)]
    if any(isinstance(value, ast.Dict) for value in returns):
        yield "R6", "reference", "returns a dict: readers take a tensor or a tuple", fix


def _returned(run: ast.FunctionDef) -> Iterator[int]:
    """How many values each return gives, where the text shows it."""
    returns = [node for node in _own_nodes(run) if isinstance(node, ast.Return)]
    if not returns:
        yield 0
    for node in returns:
        if node.value is None:
            yield 0
        elif isinstance(node.value, (ast.Tuple, ast.List)):
            if not any(isinstance(element, ast.Starred) for element in node.value.elts):
                yield len(node.value.elts)
        elif isinstance(node.value, (ast.BinOp, ast.Constant, ast.Compare)):
            yield 1


def _changed(run: ast.FunctionDef) -> set[str]:
    """Parameters that are written in place and nowhere bound to something else."""
    nodes = list(_own_nodes(run))
    rebound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    augmented = {
        n.target.id for n in nodes
        if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
    }  # fmt: skip
    candidates = {a.arg for a in [*run.args.posonlyargs, *run.args.args]}
    candidates -= rebound - augmented
    changed = augmented & candidates
    for node in nodes:
        target = _written(node)
        while isinstance(target, (ast.Subscript, ast.Attribute)):
            target = target.value
        if isinstance(target, ast.Name) and target.id in candidates:
            changed.add(target.id)
    return changed


def _written(node: ast.AST) -> ast.AST | None:
    """What `x[...] = `, `x.add_()` or `f(out=x)` writes to."""
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return node.value
    if not isinstance(node, ast.Call):
        return None
    out = [keyword.value for keyword in node.keywords if keyword.arg == "out"]
    if out:
        return out[0]
    if isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name.endswith("_") and not name.endswith("__") and name[:-1].isidentifier():
            return node.func.value
    return None
