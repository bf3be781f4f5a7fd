"""Rules of attention: causal mask, key heads, softmax scale, latent parts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.events import Event
from kernelkit.solutions.check.lse import SDPA
from kernelkit.solutions.check.syntax import Module, keyword, literal, method_of

KEYS = ("k", "v", "k_cache", "v_cache", "ckv_cache", "kpe_cache", "kv_cache")
_ABSORBED = (576, 512)


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
        if event.name.rpartition(".")[2] in ("cat", "concat", "concatenate") and event.args:
            for pair in (("q_nope", "q_pe"), ("ckv_cache", "kpe_cache")):
                places = _places(event, pair)
                if len(places) == 2:
                    orders[pair[0]] = (places[0] < places[1], event)
        elif event.name.rpartition(".")[2] in ("matmul", "bmm") and len(event.args) >= 2:
            weights, held = event.args[0], event.args[1]
            cut = isinstance(event.module.parents.get(event.node), ast.Subscript)
            if _is_softmax(weights.steps, weights.made) and held.made == "cat" and not cut:
                yield at("KS314", event, "the weights meet [ckv, kpe] as a whole")
    if len(orders) == 2 and orders["q_nope"][0] != orders["ckv_cache"][0]:
        text = "q and k join their parts in different orders"
        yield at("KS313", orders["ckv_cache"][1], text)


def _places(event: Event, pair: tuple[str, str]) -> list[int]:
    """Where the two tensors stand among the joined parts."""
    found = []
    for mine, other in (pair, pair[::-1]):
        held = [p.data | p.alias for p in event.args[0].parts]
        found += [i for i, names in enumerate(held) if mine in names and other not in names]
    return found


def _is_softmax(steps: tuple[str, ...], made: str) -> bool:
    return "softmax" in (made, *steps) or "_softmax" in (made, *steps)


RULES: tuple[Rule, ...] = (causal, key_heads, scale, latent_order)
