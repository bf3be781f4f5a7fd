"""Rules of norms, rotary embedding and sampling."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.syntax import keyword, literal
from kernelkit.solutions.constants import values_of

_EPSILON = re.compile(r"(?i)^eps(ilon)?$|^variance_epsilon$")
_RANDOM = (
    r"multinomial|rand|exponential|gumbel|philox|bernoulli|uniform|sampling_from|curand|normal_"
)
_INTERLEAVED_STEP = 2


def epsilon(context: Context) -> Iterator[Finding]:
    """KS601: a number between 0 and 1e-3 that is not the definition's eps. Constants: KS112."""
    wanted = values_of(context.definition).get("eps")
    if not isinstance(wanted, float):
        return
    for module in context.modules.values():
        constants = {id(node) for node in module.globals.values()}
        for node in module.nodes:
            value = literal(node) if isinstance(node, ast.Constant) else None
            small = isinstance(value, float) and 0 < value < 1e-3 and id(node) not in constants
            if small and value != wanted:
                yield finding("KS601", module, node, f"{value}, the definition's is {wanted}")
        for name, node in module.globals.items():
            value = literal(node)
            if _EPSILON.match(name) and name != "EPS" and value != wanted and value is not None:
                yield finding("KS601", module, node, f"{name} = {value}, wanted {wanted}")


def gemma(context: Context) -> Iterator[Finding]:
    """KS604."""
    if not context.definition.name.startswith("gemma_") or context.run is None:
        return
    if context.home is None or context.mentions(r"gemma_\w*rmsnorm"):
        return
    if not context.mentions(r"\b1(\.0*)? \+|\+ 1(\.0*)?\b|add\(.*\b1(\.0)?\b|\+ 1\.0f"):
        yield finding("KS604", context.home, context.run, "the weight is stored minus 1")


def rotary(context: Context) -> Iterator[Finding]:
    """KS602, KS603."""
    if "cos_sin_cache" not in context.definition.inputs:
        return
    neox = _is_neox(context)
    for event in context.events("index"):
        if not _steps_by_two(event.node):
            continue
        if event.value.data & {"cos_sin_cache"}:
            yield at("KS603", event, "every second element of cos_sin_cache")
        elif neox is True and event.value.data & {"q", "k"} and not _behind_option(event):
            yield at("KS602", event, "pairs 2 i and 2 i + 1, the definition is NEOX")
    for module in context.modules.values():
        for node, dotted in module.calls:
            style = literal(keyword(node, "is_neox"))
            style = style if style is not None else literal(keyword(node, "interleave"))
            if (
                dotted.startswith("flashinfer")
                and isinstance(style, bool)
                and isinstance(neox, bool)
            ):
                wrong = style != neox if keyword(node, "is_neox") is not None else style == neox
                if wrong:
                    yield finding("KS602", module, node, f"the definition has neox {neox}")


def _is_neox(context: Context) -> bool | None:
    """The definition's pairing, by its name; None where that does not say."""
    name = context.definition.name
    return True if "neox" in name else False if "gptj" in name else None


def _behind_option(event: object) -> bool:
    """Whether the line stands in a branch: of two styles only one is taken."""
    module, node = event.module, event.node  # type: ignore[attr-defined]
    return any(True for _ in module.enclosing(node, (ast.If, ast.IfExp)))


def _steps_by_two(node: ast.AST) -> bool:
    index = getattr(node, "slice", None)
    items = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(isinstance(i, ast.Slice) and literal(i.step) == _INTERLEAVED_STEP for i in items)


def randomness(context: Context) -> Iterator[Finding]:
    """KS605."""
    if context.definition.op_type != "sampling" or context.mentions(_RANDOM):
        return
    if context.run is not None and context.home is not None:
        text = "the same token every time is not a draw from the distribution"
        yield finding("KS605", context.home, context.run, text)


RULES: tuple[Rule, ...] = (epsilon, gemma, rotary, randomness)
