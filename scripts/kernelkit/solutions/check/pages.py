"""Rules of paged caches: layout, page tables, the last page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.syntax import keyword, literal, names_in
from kernelkit.solutions.check.values import MERGE, Value

CACHES = frozenset(("k_cache", "v_cache", "ckv_cache", "kpe_cache", "kv_cache"))
PAGE_IDS = frozenset(("kv_indices", "block_table", "page_table"))


def layout(context: Context) -> Iterator[Finding]:
    """KS304: NHD is [pages, page_size, kv_heads, head_dim]."""
    if not CACHES & set(context.definition.inputs):
        return
    for module in context.modules.values():
        for node, _ in module.calls:
            given = keyword(node, "kv_layout")
            candidates = [given] if given is not None else node.args
            if any(literal(item) == "HND" for item in candidates) and not _permuted(context):
                yield finding("KS304", module, node, "kv_layout is HND, the caches are NHD")
    for event in context.events("unpack"):
        if _is_whole_cache(event.value) and isinstance(event.node, (ast.Tuple, ast.List)):
            yield from _misnamed(context, event)


def _permuted(context: Context) -> bool:
    """Whether a cache's page and head axes are exchanged before the call."""
    return any(
        event.value.alias & CACHES
        and event.name.rpartition(".")[2] in ("permute", "transpose", "swapaxes")
        for event in context.events("call")
    )


def _misnamed(context: Context, event: object) -> Iterator[Finding]:
    """`pages, heads, page_size, dim = k_cache.shape`."""
    names = [getattr(item, "id", "") for item in event.node.elts]  # type: ignore[attr-defined]
    if len(names) == 4 and re.search(r"head|^h", names[1]) and re.search(r"page|block", names[2]):
        text = f"{names[1]} is read from the axis of page offsets"
        yield at("KS304", event, text)  # type: ignore[arg-type]


def _is_whole_cache(value: Value) -> bool:
    return bool(value.alias & CACHES) and not value.steps


def last_page(context: Context) -> Iterator[Finding]:
    """KS305, KS306."""
    inputs = context.definition.inputs
    if "kv_last_page_len" not in inputs or context.run is None or context.home is None:
        return
    if context.const.get("page_size", 2) == 1:
        return
    own = context.stands_for({"kv_last_page_len"})
    used = names_in(ast.Module(body=context.run.body, type_ignores=[]))
    if own and not own & used and not context.run.args.vararg:
        text = (
            f"pages of {context.const.get('page_size', 'several')} tokens: the last is partly full"
        )
        yield finding("KS305", context.home, context.run, text)
        return
    if inputs["kv_last_page_len"].shape == ["len_indptr"]:
        cut = any(
            isinstance(n, ast.Subscript) and names_in(n.value) & own
            for _, n in context.hot()
        )  # fmt: skip
        if not cut:
            text = "the definition declares len_indptr elements, batch + 1"
            yield finding("KS306", context.home, context.run, text)


def page_ids(context: Context) -> Iterator[Finding]:
    """KS307, KS308: only where a page holds several tokens."""
    size = context.const.get("page_size", 1)
    if size == 1:
        return
    for event in context.events("index"):
        if not (event.value.alias | event.value.data) & CACHES:
            continue
        if MERGE in event.value.steps and _is_raw_page_id(event.args[0]):
            yield at("KS307", event, "a flattened cache is indexed by page ids")
        elif _is_whole_cache(event.value) and _takes_offset_0(event.node):
            yield at("KS308", event, "offset 0 of every page")
    for event in context.events("call"):
        if event.name.rpartition(".")[2] == "squeeze" and _is_whole_cache(event.value):
            given = event.node.args[-1:]  # type: ignore[attr-defined]
            if given and literal(given[0]) == 1:
                yield at("KS308", event, f"squeeze(1) leaves pages of {size} tokens as they are")


def _is_raw_page_id(index: Value) -> bool:
    """Whether an index is page ids themselves: converted or cut, but never computed with."""
    kept = {"long", "to", "int", "[]", "gather", "contiguous", "view", "reshape", MERGE}
    return bool(index.data & PAGE_IDS) and {index.made, *index.steps} <= {"argument", *kept}


def _takes_offset_0(node: ast.AST) -> bool:
    """cache[:, 0] or cache[pages, 0]."""
    items = getattr(getattr(node, "slice", None), "elts", [])
    return len(items) >= 2 and literal(items[1]) == 0 and not isinstance(items[0], ast.Constant)


RULES: tuple[Rule, ...] = (layout, last_page, page_ids)
