"""Rules of imports, vendored files and dependencies."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import PurePosixPath

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, finding
from kernelkit.solutions.check.syntax import Module, own_file

# Import name -> name of the distribution, where they differ.
DISTRIBUTIONS = {
    "fla": "flash-linear-attention", "cutlass": "nvidia-cutlass-dsl",
    "flashinfer": "flashinfer-python", "tvm_ffi": "apache-tvm-ffi", "cuda": "cuda-python",
    "flash_attn": "flash-attn", "mamba_ssm": "mamba-ssm",
}  # fmt: skip
KNOWN_LIBRARIES = {"torch", "triton", "numpy", "flashinfer", "fla", "cutlass", "tilelang", "cuda"}


def syntax(context: Context) -> Iterator[Finding]:
    """KS207."""
    for path, error in context.broken.items():
        line = getattr(error, "lineno", None)
        yield Finding("KS207", path, getattr(error, "msg", None) or str(error), line)


def imports(context: Context) -> Iterator[Finding]:
    """KS201, KS204."""
    for module in context.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if _is_own(context, alias.name):
                        yield from _absolute(module, node, alias.name)
            elif isinstance(node, ast.ImportFrom):
                yield from _import_from(context, module, node)


def _import_from(context: Context, module: Module, node: ast.ImportFrom) -> Iterator[Finding]:
    name = node.module or ""
    if not node.level:
        if _is_own(context, name):
            yield from _absolute(module, node, name)
        return
    for alias in node.names:
        dotted = "." * node.level + (f"{name}.{alias.name}" if name else alias.name)
        file, attribute = own_file(module.path, dotted, context.modules)
        if file is None and not _is_folder(context, module, dotted):
            if not _in_try(module, node):
                text = f"from {'.' * node.level}{name} import {alias.name}: no such file"
                yield finding("KS204", module, node, text)
        elif file is not None and attribute and not _binds(context.modules[file], attribute):
            yield finding("KS204", module, node, f"{file} defines no {attribute}")


def _is_folder(context: Context, module: Module, dotted: str) -> bool:
    """Whether a relative name is a folder with sources (no __init__.py is needed)."""
    base = PurePosixPath(module.path).parent
    for _ in range(len(dotted) - len(dotted.lstrip(".")) - 1):
        base = base.parent
    folder = base.joinpath(*dotted.lstrip(".").split(".")).as_posix()
    return any(path.startswith(f"{folder}/") for path in context.modules)


def _absolute(module: Module, node: ast.AST, name: str) -> Iterator[Finding]:
    if not _in_try(module, node):
        text = f"{name} is a file of the solution: flashinfer-bench 0.1.2 does not find it so"
        yield finding("KS201", module, node, text)


def _is_own(context: Context, dotted: str) -> bool:
    top = dotted.split(".")[0]
    own = {path.split("/")[0].removesuffix(".py") for path in context.modules}
    return top in own and top not in sys.stdlib_module_names


def _in_try(module: Module, node: ast.AST) -> bool:
    return any(True for _ in module.enclosing(node, (ast.Try,)))


def _binds(module: Module, name: str) -> bool:
    """Whether a name is bound anywhere in a module (also in an `if` or a `try`)."""
    if (
        name == "*"
        or name in module.imports
        or any(d.endswith(".*") for d in module.imports.values())
    ):
        return True
    return any(
        getattr(n, "name", None) == name
        or (isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store))
        for n in module.nodes
    )


def import_path(context: Context) -> Iterator[Finding]:
    """KS202."""
    for module in context.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and module.dotted(node) == "sys.path":
                yield finding("KS202", module, node, "uses sys.path")
        for node, dotted in module.calls:
            if dotted in ("importlib.util.spec_from_file_location", "runpy.run_path"):
                yield finding("KS202", module, node, f"loads a file by {dotted}")


def dependencies(context: Context) -> Iterator[Finding]:
    """KS205, KS206. torch, and the language's own package, need no mention."""
    implied = {"torch", context.spec.language.value, "__future__"}
    declared = {re.split(r"[\s<>=!~\[;@]", d)[0].lower() for d in context.spec.dependencies}
    for module in context.modules.values():
        told: set[str] = set()
        for node in module.nodes:
            for name in packages(node):
                own = name in told or _is_own(context, name) or name in sys.stdlib_module_names
                told.add(name)
                if own:
                    continue
                distribution = DISTRIBUTIONS.get(name, name)
                names = {distribution.lower(), name.lower(), name.replace("_", "-").lower()}
                if name not in implied and not names & declared:
                    yield finding("KS205", module, node, f"{name} (package {distribution})")
                if name != "torch" and not _installed(name):
                    yield finding("KS206", module, node, f"{name} (package {distribution})")


def packages(node: ast.AST) -> list[str]:
    """The top-level packages that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        return [node.module.split(".")[0]]
    return []


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def file_names(context: Context) -> Iterator[Finding]:
    """KS209."""
    taken = set(sys.stdlib_module_names) | KNOWN_LIBRARIES
    for path in context.modules:
        top = path.split("/")[0].removesuffix(".py")
        if top in taken:
            yield Finding("KS209", path, f"{top} hides the library's module for plain imports")


RULES: tuple[Rule, ...] = (syntax, imports, import_path, dependencies, file_names)
