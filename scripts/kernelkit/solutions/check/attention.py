"""Rules of attention: log-sum-exp, causal mask, key heads, scale, latent parts, empty requests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.flow import Event
from kernelkit.solutions.check.syntax import Module, keyword, literal, method_of

BASE_2 = r"log2|1\.442695|0\.69314|\bexp2\b|(?i:\bln_?2\b|log_?2_?e)|math\.log\(2(\.0*)?\)"
KEYS = ("k", "v", "k_cache", "v_cache", "ckv_cache", "kpe_cache", "kv_cache")
SDPA = "torch.nn.functional.scaled_dot_product_attention"
_LIBRARY_LSE = re.compile(r"flash_attn|_scaled_dot_product_\w*attention|return_softmax_lse")
_UNSURE_BACKENDS = ("cute-dsl", "cute_dsl", "trtllm-gen", "cudnn")
_ABSORBED = (576, 512)


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


def causal(context: Context) -> Iterator[Finding]:
    """KS309: torch's is_causal and a plain tril are top-left, the definitions bottom-right."""
    if "qo_indptr" not in context.definition.inputs:
        return
    for module in context.modules.values():
        for node, dotted in module.calls:
            name = method_of(node) or dotted.rpartition(".")[2]
            if literal(keyword(node, "is_causal")) is True:
                text = "is_causal=True lets query i see key i, not i + kv_len - q_len"
                yield finding("KS309", module, node, text)
            elif name in ("tril", "triu") and _fixed_diagonal(module, node, dotted):
                if not _is_cut(module, node):
                    text = f"{name} with a fixed diagonal is right for q_len == kv_len only"
                    yield finding("KS309", module, node, text)
        yield from _plain_comparisons(module)


def _fixed_diagonal(module: Module, node: ast.Call, dotted: str) -> bool:
    place = 1 if dotted.startswith("torch.") else 0
    given = node.args[place] if len(node.args) > place else keyword(node, "diagonal")
    return given is None or literal(given) is not None


def _is_cut(module: Module, node: ast.AST) -> bool:
    """Whether the square mask's last rows are taken: mask[-q_len:]."""
    holder = module.parents.get(node)
    if isinstance(holder, ast.Subscript):
        return True
    if isinstance(holder, ast.Assign) and isinstance(holder.targets[0], ast.Name):
        name = holder.targets[0].id
        return any(
            isinstance(n, ast.Subscript) and isinstance(n.value, ast.Name) and n.value.id == name
            and n is not holder.targets[0]
            for n in module.nodes
        )  # fmt: skip
    return False


def _plain_comparisons(module: Module) -> Iterator[Finding]:
    """`cols <= rows` between two plain aranges that start at 0."""
    plain = {
        t.id
        for n in module.nodes if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call)
        for t in n.targets if isinstance(t, ast.Name)
        if module.dotted(n.value.func) == "torch.arange" and _starts_at_zero(n.value)
    }  # fmt: skip
    for node in module.nodes:
        if isinstance(node, ast.Compare) and isinstance(
            node.ops[0], (ast.LtE, ast.GtE, ast.Lt, ast.Gt)
        ):
            sides = [_bare(side) for side in (node.left, node.comparators[0])]
            if all(side in plain for side in sides) and sides[0] != sides[1]:
                text = f"{ast.unparse(node)}: both count from 0"
                yield finding("KS309", module, node, text)


def _starts_at_zero(call: ast.Call) -> bool:
    return len(call.args) == 1 or literal(call.args[0]) == 0


def _bare(node: ast.AST) -> str:
    """The name below subscripts: rows[:, None] -> rows."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def key_heads(context: Context) -> Iterator[Finding]:
    """KS310, for attention and for the grouped q and k of recurrent states."""
    keys = set(KEYS) | ({"q"} if context.definition.op_type == "gdn" else set())
    if not (context.is_attention or context.definition.op_type == "gdn"):
        return
    for event in context.events("call"):
        if event.name.rpartition(".")[2] not in ("repeat", "tile") or not event.value.data & keys:
            continue
        before = (
            event.value.steps[:-1] if event.value.steps[-1:] == ("repeat",) else event.value.steps
        )
        if {"unsqueeze", "expand", "stack"} & set(before) or "[:,]" in before[-1:]:
            continue
        factors = event.node.args  # type: ignore[attr-defined]
        if any(literal(factor) != 1 for factor in factors):
            role = ", ".join(sorted(event.value.data & keys))
            yield at("KS310", event, f"{event.name} on {role} gives heads 0 1 0 1, wanted 0 0 1 1")
    yield from _modulo_heads(context)


def _modulo_heads(context: Context) -> Iterator[Finding]:
    for module in context.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
                left, right = ast.unparse(node.left), ast.unparse(node.right)
                if re.search(r"(?i)head", left) and re.fullmatch(
                    r"(?i)(num_)?kv_heads|h_?kv|num_k_heads", right
                ):
                    yield finding("KS310", module, node, f"{left} % {right}, wanted head // group")


def scale(context: Context) -> Iterator[Finding]:
    """KS311, KS312."""
    inputs = context.definition.inputs
    if "sm_scale" not in inputs:
        return
    for module in context.modules.values():
        for node in module.nodes:
            if (size := _root_of(module, node)) in _ABSORBED and "q_nope" in inputs:
                text = f"1 / sqrt({size}); the head size before absorption is 192"
                yield finding("KS311", module, node, text)
        for node, dotted in module.calls:
            if dotted == SDPA and keyword(node, "scale") is None and len(node.args) < 7:
                text = "scaled_dot_product_attention without scale= uses 1 / sqrt(head_dim)"
                yield finding("KS312", module, node, text)
            elif method_of(node) in ("plan", "begin_forward") and _is_flashinfer(module):
                named = {k.arg for k in node.keywords}
                if not named & {"sm_scale", None} and not context.mentions(r"\bq_scale\b"):
                    yield finding("KS312", module, node, "plan() without sm_scale")


def _is_flashinfer(module: Module) -> bool:
    return any(dotted.split(".")[0] == "flashinfer" for dotted in module.imports.values())


def _root_of(module: Module, node: ast.AST) -> object:
    """The number under `x ** -0.5`, `math.sqrt(x)` or a sum of such numbers, else None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and literal(node.right) == -0.5:
        return _number(node.left)
    if isinstance(node, ast.Call) and module.dotted(node.func) in (
        "math.sqrt",
        "numpy.sqrt",
        "math.rsqrt",
    ):
        return _number(node.args[0]) if node.args else None
    return None


def _number(node: ast.AST) -> object:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = literal(node.left), literal(node.right)
        if isinstance(left, int) and isinstance(right, int):
            return left + right
    held = literal(node)
    return int(held) if isinstance(held, float) and held.is_integer() else held


def latent_order(context: Context) -> Iterator[Finding]:
    """KS313, KS314."""
    if "q_nope" not in context.definition.inputs:
        return
    orders: dict[str, tuple[bool, Event]] = {}
    for event in context.events("call"):
        if event.name.rpartition(".")[2] not in ("cat", "concat", "concatenate"):
            continue
        parts = event.args[0].parts if event.args else ()
        for nope, rope in (("q_nope", "q_pe"), ("ckv_cache", "kpe_cache")):
            places = [
                i
                for n in (nope, rope)
                for i, p in enumerate(parts)
                if p.data == {n} or n in p.alias
            ]
            if len(places) == 2:
                orders[nope] = (places[0] < places[1], event)
    if len(orders) == 2 and orders["q_nope"][0] != orders["ckv_cache"][0]:
        text = "q and k join their parts in different orders"
        yield at("KS313", orders["ckv_cache"][1], text)
    for event in context.events("call"):
        if event.name.rpartition(".")[2] in ("matmul", "bmm") and len(event.args) >= 2:
            weights, held = event.args[0], event.args[1]
            if _is_softmax(weights.steps, weights.made) and held.made == "cat":
                yield at("KS314", event, "the weights meet [ckv, kpe] as a whole")


def _is_softmax(steps: tuple[str, ...], made: str) -> bool:
    return "softmax" in (made, *steps) or "_softmax" in (made, *steps)


_HANDLES_EMPTY = (
    r"nan_to_num|isnan|isneginf|torch\.where|masked_fill_?\([^()]*(\([^()]*\)[^()]*)*,\s*(value=)?0|"
    r"tl\.where|continue\b|torch\.zeros|zeros_like|new_zeros|zero_\(|index_fill|isfinite|"
    r"if .*(len|num|count|start|indptr|total).*[=<>]"
)


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


RULES: tuple[Rule, ...] = (
    lse_base, backend, causal, key_heads, scale, latent_order, empty_requests, finite_infinity,
)  # fmt: skip
