"""Lines worth reading: the classes of the model, and the functions that call FlashInfer."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kernelkit import lazily
from kernelkit.sglang import modules
from kernelkit.sglang.document import Excerpt, KernelCall
from kernelkit.sglang.interpret.machine import Machine
from kernelkit.sglang.interpret.values import ClassRef

Span = tuple[int, int, str]


def excerpts(
    m: Machine, entry: ClassRef, tree: modules.ModelTree, kernels: list[KernelCall]
) -> list[Excerpt]:
    """The entry class, each class of the module tree, and each caller of FlashInfer, once."""
    classes = [entry] + [b.instance.cls for b in tree.built if b.instance.cls is not None]
    found = [_of_class(cls) for cls in dict.fromkeys(classes)]
    spans: dict[str, list[Span]] = {}
    found += [_of_caller(m, call, spans) for call in kernels if call.fi_api]
    unique = {(e.file, e.first_line): e for e in found if e is not None}
    return list(unique.values())


def _of_class(cls: ClassRef) -> Excerpt:
    first, last = _lines(cls.node)
    return Excerpt(what=f"class {cls.name}", file=cls.file.name, first_line=first, last_line=last)


def _of_caller(m: Machine, call: KernelCall, known: dict[str, list[Span]]) -> Excerpt | None:
    """The innermost function around the call."""
    if call.file not in known:
        dotted = call.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        file = m.files.find(dotted)
        known[call.file] = list(_functions(file.parsed.body)) if file else []
    around = [span for span in known[call.file] if span[0] <= call.line <= span[1]]
    if not around:
        return None
    first, last, name = max(around)
    what = f"{name}: calls {call.fi_api}"
    return Excerpt(what=what, file=call.file, first_line=first, last_line=last)


def _functions(body: list[ast.stmt]) -> Iterator[Span]:
    """First line, last line and name of every function, at any depth of statements."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (*_lines(node), node.name)
            if not lazily.mentions(node, "def "):
                continue
        for inner in ("body", "orelse", "finalbody"):
            yield from _functions(getattr(node, inner, []))


def _lines(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, int]:
    """First and last line of a definition, decorators included."""
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return first, node.end_lineno or first
