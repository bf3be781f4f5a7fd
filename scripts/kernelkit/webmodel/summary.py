"""A generated entry as text: the tree with counts and definitions, then what is missing."""

from __future__ import annotations

from collections.abc import Iterator

from kernelkit.webmodel.generate import Generated

MOST = 3  # definitions of a module that a line names


def summary(generated: Generated) -> str:
    """The tree, one line a module."""
    entry = generated.entry
    lines = [f"{entry.id}: {entry.name}", entry.description, ""]
    lines += _tree(generated)
    lines += _missing(generated)
    return "\n".join(lines)


def _tree(generated: Generated) -> Iterator[str]:
    depth: dict[str | None, int] = {None: 0}
    for placed in generated.modules:
        depth[placed.name] = depth[placed.parent] + 1
        names = generated.entry.modules[placed.name].definitions
        shown = ", ".join(names[:MOST]) + (f", {len(names) - MOST} more" if names[MOST:] else "")
        label = f"{'  ' * depth[placed.name]}{placed.name}"
        yield f"{label:<44} {placed.count:>4}  {shown}".rstrip()


def _missing(generated: Generated) -> Iterator[str]:
    missing = generated.report["missing"]
    if missing:
        yield ""
        yield "missing in the dataset (python scripts/derive_definitions.py writes them):"
        for row in missing:
            what = "; ".join(row.get("differences", ())) or " ".join(row["tags"])
            yield f"  {row['status']:<8} {row['definition']}  {what}".rstrip()
    for title, key in (("not decided", "warnings"), ("runs in no module", "not_placed")):
        for text in generated.report[key]:
            yield f"{title}: {text}"
    for text in (generated.report["sglang"] or {}).get("disagreements", ()):
        yield f"SGLang disagrees: {text}"
