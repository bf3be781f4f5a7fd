"""Rules of log-sum-exps and of requests without tokens."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, finding
from kernelkit.solutions.check.syntax import Module, keyword, literal, method_of

BASE_2 = (
    r"log2|1\.442695|0\.69314|\bexp2\b|(?i:ln_?2\b|log_?2_?e)|\blog\((\w+\.)*(tensor\()?2(\.0*)?\)"
)
SDPA = "torch.nn.functional.scaled_dot_product_attention"
_LIBRARY_LSE = re.compile(r"flash_attn|_scaled_dot_product_\w*attention|return_softmax_lse")
_UNSURE_BACKENDS = ("cute-dsl", "cute_dsl", "trtllm-gen", "cudnn")
_HANDLES_EMPTY = (
    r"nan_to_num|isnan|isneginf|torch\.where|masked_fill_?\([^()]*(\([^()]*\)[^()]*)*,\s*(value=)?0|"
    r"tl\.where|continue\b|torch\.zeros|zeros_like|new_zeros|zero_\(|index_fill|isfinite|"
    r"if .*(len|num|count|start|indptr|total).*[=<>]"
)


def lse_base(context: Context) -> Iterator[Finding]:
    """KS301, KS302: the definitions want base 2 everywhere."""
    if "lse" not in context.definition.outputs:
        return
    if context.mentions(BASE_2):
        yield from _converted_twice(context)
        return
    for module in context.modules.values():
        for node, dotted in module.calls:
            name = method_of(node) or dotted
            if name == "logsumexp" or dotted.endswith((".logsumexp", ".log_softmax")):
                yield finding("KS301", module, node, "torch.logsumexp is a natural logarithm")
                return
            if dotted == "triton.language.log" or _LIBRARY_LSE.search(dotted):
                yield finding("KS301", module, node, f"{dotted} gives a natural logarithm")
                return


def _converted_twice(context: Context) -> Iterator[Finding]:
    """A product of FlashInfer's second result with a constant of base 2."""
    lses = {
        node.targets[0].elts[1].id: module
        for module in context.modules.values()
        for node in module.nodes
        if isinstance(node, ast.Assign) and _is_flashinfer_pair(module, node)
    }
    for module in context.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
                sides = {n.id for n in (node.left, node.right) if isinstance(n, ast.Name)}
                if sides & lses.keys() and re.search(BASE_2, ast.unparse(node)):
                    yield finding("KS302", module, node, "FlashInfer's wrappers return base 2")


def _is_flashinfer_pair(module: Module, node: ast.Assign) -> bool:
    """`out, lse = wrapper.run(..., return_lse=True)` where flashinfer is imported."""
    target, value = node.targets[0], node.value
    return (
        isinstance(target, ast.Tuple) and len(target.elts) == 2
        and isinstance(target.elts[1], ast.Name) and isinstance(value, ast.Call)
        and literal(keyword(value, "return_lse")) is True
        and any(d.startswith("flashinfer") for d in module.imports.values())
    )  # fmt: skip


def backend(context: Context) -> Iterator[Finding]:
    """KS303."""
    if "lse" not in context.definition.outputs:
        return
    for module in context.modules.values():
        for node, _ in module.calls:
            chosen = literal(keyword(node, "backend"))
            if chosen in _UNSURE_BACKENDS and "lse_base" not in module.text:
                yield finding("KS303", module, node, f"backend={chosen!r}")


def empty_requests(context: Context) -> Iterator[Finding]:
    """KS315: softmax over no key is NaN. Only where nothing in the sources looks like a remedy."""
    indptr = [
        n for n in context.definition.inputs if n in ("kv_indptr", "seq_lens", "sparse_indices")
    ]
    if not indptr or not context.is_attention or context.mentions(_HANDLES_EMPTY):
        return
    for module in context.modules.values():
        for node, dotted in module.calls:
            name = method_of(node) or dotted
            if dotted == SDPA or name == "softmax" or dotted.endswith(".softmax"):
                text = (
                    f"softmax of a row without keys is NaN ({indptr[0]} may have equal neighbours)"
                )
                yield finding("KS315", module, node, text)
                return


def finite_infinity(context: Context) -> Iterator[Finding]:
    """KS316: a note, for such masks are sound where empty rows are handled apart."""
    if "lse" not in context.definition.outputs:
        return
    for module in context.modules.values():
        for node in module.nodes:
            value = literal(node)
            negative = isinstance(value, float) and -float("inf") < value <= -1e4
            if negative and isinstance(
                module.parents.get(node), (ast.Call, ast.keyword, ast.Assign)
            ):
                yield finding("KS316", module, node, f"{value}")
        for node, dotted in module.calls:
            if dotted == "torch.finfo" and isinstance(module.parents.get(node), ast.Attribute):
                attribute = module.parents[node].attr  # type: ignore[attr-defined]
                if attribute == "min":
                    yield finding("KS316", module, node, "torch.finfo(...).min")


RULES: tuple[Rule, ...] = (lse_base, backend, empty_requests, finite_infinity)
