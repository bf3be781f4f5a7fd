"""Rules of builds: languages, headers, exported symbols, compilation, CuTe DSL's version."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from kernelkit.dataset.solution import Binding, Language
from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, finding
from kernelkit.solutions.check.packaging import packages
from kernelkit.solutions.check.syntax import Module

SUFFIXES = {
    Language.PYTHON: (".py",), Language.TRITON: (".py",), Language.TILELANG: (".py",),
    Language.CUDA: (".cu", ".cuh", ".cpp", ".cc"), Language.CPP: (".cpp", ".cc", ".cxx", ".c"),
}  # fmt: skip
_INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)
_VENDORED = ("cutlass/", "cute/", "cub/cub_", "flashinfer/", "thunderkittens", "kittens")
_COMPILES = ("torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline",
             "tvm_ffi.cpp.load", "tvm_ffi.cpp.load_inline", "tvm_ffi.cpp.build",
             "torch.compile", "cutlass.cute.compile")  # fmt: skip


def cute_dsl(context: Context) -> Iterator[Finding]:
    """KS210."""
    for module in context.modules.values():
        for node in module.nodes:
            if "cutlass" in packages(node):
                if not any(re.match(r"nvidia-cutlass-dsl\S*\s*[=~<]", d)
                           for d in context.spec.dependencies):  # fmt: skip
                    yield finding("KS210", module, node, "spec.dependencies names no version")
                return


def language(context: Context) -> Iterator[Finding]:
    """KS213."""
    spec = context.spec
    suffixes = SUFFIXES[spec.language]
    if not spec.entry_file.endswith(suffixes):
        text = f"{spec.language.value} wants {' or '.join(suffixes)}, not {spec.entry_file}"
        yield Finding("KS213", spec.entry_file, text)


def headers(context: Context) -> Iterator[Finding]:
    """KS211."""
    if context.is_python:
        return
    for path, text in context.sources.items():
        for match in _INCLUDE.finditer(text):
            header = match.group(2)
            beside = (PurePosixPath(path).parent / header).as_posix()
            if header in context.sources or _normal(beside) in context.sources:
                continue
            if match.group(1) == '"' or header.startswith(_VENDORED):
                line = text.count("\n", 0, match.start(2)) + 1
                if match.group(1) == '"' and header.startswith(("torch/", "ATen/", "c10/", "tvm/")):
                    continue
                yield Finding("KS211", path, header, line)


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in (".", ""):
            parts.append(part)
    return "/".join(parts)


def exported(context: Context) -> Iterator[Finding]:
    """KS212."""
    if context.is_python:
        return
    symbol, text = re.escape(context.spec.entry_symbol), "\n".join(context.sources.values())
    if not re.search(rf"\b{symbol}\b", text):
        yield Finding("KS212", context.spec.entry_file, f"no source names {symbol}")
        return
    if context.spec.binding is Binding.TORCH:
        if not re.search(rf"(m|module)\s*\.\s*(def|impl)\s*\(\s*\"{symbol}[\"(]", text):
            text = f'binding torch: no m.def("{symbol}", ...) in a PYBIND11_MODULE'
            yield Finding("KS212", context.spec.entry_file, text)
    elif not re.search(rf"TVM_FFI_DLL_EXPORT_TYPED_FUNC\s*\(\s*{symbol}\b", text):
        if not re.search(rf"__tvm_ffi_{symbol}\b", text):
            text = f"binding tvm-ffi: no TVM_FFI_DLL_EXPORT_TYPED_FUNC({symbol}, ...)"
            yield Finding("KS212", context.spec.entry_file, text)


def compiled_in_run(context: Context) -> Iterator[Finding]:
    """KS214. A compilation behind a test of a module-level variable, or a cache, is sound."""
    for module, node, dotted in context.hot_calls():
        if dotted not in _COMPILES:
            continue
        holders = list(module.enclosing(node, (ast.If, ast.FunctionDef)))
        guarded = any(isinstance(h, ast.If) or _is_cached(module, h) for h in holders)
        if not guarded:
            yield finding("KS214", module, node, f"{dotted} at every call")


def _is_cached(module: Module, function: ast.AST) -> bool:
    return any(
        module.dotted(d.func if isinstance(d, ast.Call) else d).startswith("functools.")
        for d in getattr(function, "decorator_list", [])
    )


RULES: tuple[Rule, ...] = (cute_dsl, language, headers, exported, compiled_in_run)
