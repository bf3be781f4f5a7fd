"""Rules of Triton and CUDA kernels: offsets, masked loads, device guards."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.syntax import Function, Module, keyword, method_of, names_in

LANGUAGE = "triton.language."
_STRIDE = re.compile(r"(?i)stride|_row$|_rs$")
_HEADS = re.compile(r"(?i)head|^(pid_|i_|cur_)?h(id)?$|^hid")
_REDUCTIONS = ("dot", "sum", "dot_scaled")
_CUDA_OFFSET = re.compile(
    r"^(?!.*(int64_t|size_t|long|ptrdiff_t)).*\bblockIdx\.\w+\s*\*\s*\w*(stride|hidden|dim|size)\w*"
)
_GUARDS = r"torch\.cuda\.(device|device_of|set_device)\("


def _kernels(context: Context) -> Iterator[tuple[Module, Function]]:
    for module in context.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.FunctionDef) and module.is_kernel(node):
                if any(d.startswith("triton") for d in module.imports.values()):
                    yield module, node


def offsets(context: Context) -> Iterator[Finding]:
    """KS711, once a kernel: a program id, or an index that was loaded, times a stride, in 32 bits.

    Products of heads are left out: there are few.
    """
    for module, kernel in _kernels(context):
        narrow = _narrow_names(module, kernel)
        products = [
            node
            for node in ast.walk(kernel)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
            for one, other in ((node.left, node.right), (node.right, node.left))
            if _is_stride(other) and _is_narrow(module, one, narrow)
            and not _HEADS.search(ast.unparse(one))
        ]  # fmt: skip
        if products:
            more = f" (and {len(products) - 1} more)" if len(products) > 1 else ""
            text = f"{ast.unparse(products[0])}{more} overflows at 2^31 elements"
            yield finding("KS711", module, products[0], text)


def _is_stride(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and _STRIDE.search(node.id) is not None


def _narrow_names(module: Module, kernel: Function) -> set[str]:
    """Variables that hold program ids or loaded indices in 32 bits."""
    narrow: set[str] = set()
    for node in ast.walk(kernel):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if _is_narrow(module, node.value, narrow):
                narrow.add(node.targets[0].id)
            else:
                narrow.discard(node.targets[0].id)
    return narrow


def _is_narrow(module: Module, node: ast.AST, narrow: set[str]) -> bool:
    """A program id, a load through a name of indices, or what is computed of them alone."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        return node.id in narrow
    if isinstance(node, ast.BinOp):
        wide = "int64" in ast.unparse(node)
        sides = (node.left, node.right)
        return not wide and any(_is_narrow(module, side, narrow) for side in sides)
    if isinstance(node, ast.Call):
        name = module.dotted(node.func).removeprefix(LANGUAGE)
        if name == "program_id":
            return True
        if name in ("where", "maximum", "minimum"):
            return any(_is_narrow(module, item, narrow) for item in node.args)
        if name == "load" and node.args:
            return (
                re.search(
                    r"(?i)ind|idx|table|page|slot|block_?id|cu_seq", ast.unparse(node.args[0])
                )
                is not None
            )
    return False


def masked_loads(context: Context) -> Iterator[Finding]:
    """KS713."""
    for module, kernel in _kernels(context):
        risky = {
            node.targets[0].id: node
            for node in ast.walk(kernel)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            and _is_open_load(module, node.value)
        }  # fmt: skip
        for node in ast.walk(kernel):
            name = module.dotted(node.func) if isinstance(node, ast.Call) else ""
            if name.removeprefix(LANGUAGE) in _REDUCTIONS:
                for used in sorted(names_in(node) & risky.keys()):
                    if not _masked_later(module, kernel, used):
                        text = f"{used} enters {name.removeprefix(LANGUAGE)}: 0 * NaN is NaN"
                        yield finding("KS713", module, risky.pop(used), text)


def _is_open_load(module: Module, node: ast.AST) -> bool:
    """A load with a mask and without `other`, also behind a cast."""
    while isinstance(node, ast.Call) and method_of(node) == "to":
        node = node.func.value  # type: ignore[attr-defined]
    if not isinstance(node, ast.Call) or module.dotted(node.func) != f"{LANGUAGE}load":
        return False
    masked = keyword(node, "mask") is not None or len(node.args) > 1
    return masked and keyword(node, "other") is None and len(node.args) < 3


def _masked_later(module: Module, kernel: Function, name: str) -> bool:
    return any(
        isinstance(n, ast.Call)
        and module.dotted(n.func) == f"{LANGUAGE}where"
        and name in names_in(n)
        for n in ast.walk(kernel)
    )


def cuda_offsets(context: Context) -> Iterator[Finding]:
    """KS712."""
    for path, text in context.sources.items():
        if not path.endswith((".cu", ".cuh")):
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if _CUDA_OFFSET.search(line):
                yield Finding("KS712", path, line.strip()[:80], number)


def device_guard(context: Context) -> Iterator[Finding]:
    """KS809."""
    launches = context.events("launch")
    if launches and not context.mentions(_GUARDS):
        yield at("KS809", launches[0], f"{launches[0].name} runs on the current device")


RULES: tuple[Rule, ...] = (offsets, masked_loads, cuda_offsets, device_guard)
