"""Rules of mixtures of experts, low-bit products, and sparse attention's indices."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.syntax import Module, keyword, literal, method_of, names_in

TURNS = {"T", "t", "mT", "transpose", "permute", "swapaxes", "movedim"}
_NATIVE = ("torch._scaled_mm", "deep_gemm", "trtllm_fp8_block_scale", "trtllm_fp4_block_scale",
           "cutlass_fused_moe")  # fmt: skip


def scale_layout(context: Context) -> Iterator[Finding]:
    """KS501: hidden_states_scale is [hidden / 128, tokens]."""
    spec = context.definition.inputs.get("hidden_states_scale")
    if (
        spec is None
        or spec.shape is None
        or not spec.shape[-1].startswith(("seq_len", "tokens", "num_tokens"))
    ):
        return
    for event in context.events("index", "call"):
        name = event.name.rpartition(".")[2]
        rows = event.kind == "index" and not _cuts_columns(event.node)
        spread = name in ("repeat_interleave", "repeat", "unsqueeze", "expand")
        if "hidden_states_scale" in event.value.alias and (rows or spread):
            if not TURNS & set(event.value.steps) and not _outer(event.module, event.node):
                yield at("KS501", event, f"its first axis is {spec.shape[0]}, not tokens")
                return


def _outer(module: Module, node: ast.AST) -> bool:
    """Whether the result is turned at once: scale.repeat_interleave(128, 0).T"""
    holder = module.parents.get(node)
    return isinstance(holder, ast.Attribute) and holder.attr in TURNS


def _cuts_columns(node: ast.AST) -> bool:
    """scale[:, rows]: a full slice first."""
    index = getattr(node, "slice", None)
    first = index.elts[0] if isinstance(index, ast.Tuple) and index.elts else None
    return isinstance(first, ast.Slice) and first.lower is None and first.upper is None


def routing_weights(context: Context) -> Iterator[Finding]:
    """KS502: `weights = biased.gather(1, chosen)`, `weights, chosen = biased.topk(k)`."""
    if "routing_bias" not in context.definition.inputs:
        return
    for module in context.modules.values():
        for function in (n for n in module.nodes if isinstance(n, ast.FunctionDef)):
            yield from _weights_in(module, function)


def _weights_in(module: Module, function: ast.FunctionDef) -> Iterator[Finding]:
    biased = {
        target.id
        for node in ast.walk(function) if isinstance(node, ast.Assign)
        if isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Add)
        if any("bias" in name for name in names_in(node.value))
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    for node in (n for n in ast.walk(function) if isinstance(n, ast.Call)):
        name = method_of(node)
        base = (
            node.args[0]
            if module.dotted(node.func) and node.args
            else getattr(node.func, "value", None)
        )
        if not isinstance(base, ast.Name) or base.id not in biased:
            continue
        if name in ("gather", "take_along_dim"):
            yield finding("KS502", module, node, f"{base.id} holds the bias")
        holder = module.parents.get(node)
        if name == "topk" and isinstance(holder, ast.Assign) and _keeps_values(function, holder):
            yield finding("KS502", module, node, f"the values of {base.id}.topk hold the bias")


def _keeps_values(function: ast.FunctionDef, node: ast.Assign) -> bool:
    """Whether the first of `values, indices = topk(...)` is normalised: divided by a sum."""
    target = node.targets[0]
    if not isinstance(target, ast.Tuple) or not isinstance(target.elts[0], ast.Name):
        return False
    name = target.elts[0].id
    return any(
        isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div) and name in names_in(n.left)
        for n in ast.walk(function)
    )


def native_low_bit(context: Context) -> Iterator[Finding]:
    """KS503."""
    if not any(
        s.dtype.value.startswith(("float8", "float4")) for s in context.definition.inputs.values()
    ):
        return
    for module in context.modules.values():
        for node, dotted in module.calls:
            if any(name in dotted for name in _NATIVE):
                yield finding(
                    "KS503", module, node, f"{dotted}: 77 % of elements match where 95 % are asked"
                )


def indexer_cache(context: Context) -> Iterator[Finding]:
    """KS504."""
    for event in context.events("index"):
        if "k_index_cache_fp8" not in event.value.alias or event.value.steps not in ((), ("view",)):
            continue
        if set(event.value.steps) & {"reshape", "flatten"}:
            continue
        if _cuts_last_axis(event.node):
            text = "the bytes of a token are not followed by its scale"
            yield at("KS504", event, text)


def _cuts_last_axis(node: ast.AST) -> bool:
    """cache[..., :128], cache[:, :, 0, 128:]"""
    index = getattr(node, "slice", None)
    if not isinstance(index, ast.Tuple) or len(index.elts) < 2:
        return False
    last, first = index.elts[-1], index.elts[0]
    deep = len(index.elts) >= 3 or (isinstance(first, ast.Constant) and first.value is Ellipsis)
    return (
        deep and isinstance(last, ast.Slice) and (last.lower is not None or last.upper is not None)
    )


def fixed_top_k(context: Context) -> Iterator[Finding]:
    """KS505: torch.topk raises where a request has fewer tokens than k."""
    if "topk_indices" not in context.definition.outputs:
        return
    for module in context.modules.values():
        for node, dotted in module.calls:
            if method_of(node) != "topk" and dotted != "torch.topk":
                continue
            place = 1 if dotted == "torch.topk" else 0
            count = node.args[place] if len(node.args) > place else keyword(node, "k")
            fixed = literal(count)
            if isinstance(count, ast.Name):
                fixed = literal(module.globals.get(count.id))
            if isinstance(fixed, int) and fixed > 1:
                yield finding(
                    "KS505", module, node, f"k = {fixed}: fewer candidates raise an error"
                )


def sparse_padding(context: Context) -> Iterator[Finding]:
    """KS506."""
    if "sparse_indices" not in context.definition.inputs:
        return
    if context.mentions(r"!= ?-1|>= ?0|< ?0|== ?-1|> ?-1|clamp|masked_fill|tl\.where|torch\.where"):
        return
    for event in context.events("index"):
        if event.args[0].data & {"sparse_indices"} and event.value.data - {"sparse_indices"}:
            yield at("KS506", event, "-1 reads the last token of the cache")
            return


def gate_and_up(context: Context) -> Iterator[Finding]:
    """KS507, where the definition's own reference has [up; gate]."""
    if context.definition.op_type != "moe" or not _up_first(context.definition.reference):
        return
    for module in context.modules.values():
        for node, dotted in module.calls:
            if dotted.startswith("flashinfer") and dotted.endswith("silu_and_mul"):
                yield finding("KS507", module, node, "silu_and_mul takes the gate first")
            elif dotted.endswith(".silu") and node.args and _is_first_half(module, node):
                yield finding("KS507", module, node, "silu is taken of the first half, which is up")


def _up_first(reference: str) -> bool:
    module = Module("reference.py", reference)
    found = [n for n, d in module.calls if d.endswith(".silu") and n.args]
    return bool(found) and not any(_is_first_half(module, node) for node in found)


def _is_first_half(module: Module, call: ast.Call) -> bool:
    """Whether silu's argument is the first of `a, b = x.chunk(2)` or x[..., :n]."""
    argument = call.args[0]
    if isinstance(argument, ast.Subscript):
        return _takes_first(argument)
    if not isinstance(argument, ast.Name):
        return False
    function = next(module.enclosing(call, (ast.FunctionDef,)), module.tree)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            if isinstance(target, ast.Tuple) and isinstance(target.elts[0], ast.Name):
                if target.elts[0].id == argument.id and isinstance(value, ast.Call):
                    return method_of(value) in ("chunk", "split")
            elif isinstance(target, ast.Name) and target.id == argument.id:
                return isinstance(value, ast.Subscript) and _takes_first(value)
    return False


def _takes_first(node: ast.Subscript) -> bool:
    index = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
    return isinstance(index, ast.Slice) and index.lower is None and index.upper is not None


RULES: tuple[Rule, ...] = (
    scale_layout, routing_weights, native_low_bit, indexer_cache, fixed_top_k, sparse_padding,
    gate_and_up,
)  # fmt: skip
