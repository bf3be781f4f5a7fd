"""What a derived definition does to a dataset: new, more tags, renewed, or a conflict.

A definition that exists gets the new model's tags. One of the same name that differs is never
overwritten: it is reported side by side or, where the family names a variant (another eps),
written under that name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.tags import merge_tags
from kernelkit.ops import OP_TYPES, family
from kernelkit.ops.base import Variant

WRITTEN = ("new", "tagged", "refreshed")


@dataclass(frozen=True)
class Outcome:
    """What happens to one derived definition in a dataset.

    action: "new", "tagged" (exists, gets tags), "refreshed" (exists, gets our text), "unchanged",
    "conflict" (exists and differs; nothing is written).
    """

    action: str
    definition: Definition
    note: str = ""
    differences: tuple[str, ...] = ()


def place(dataset: Dataset, variants: Iterable[Variant], *, refresh: bool) -> Iterator[Outcome]:
    """Decide, without writing, what becomes of each variant; later ones see earlier ones."""
    held: dict[str, Definition | str] = {}
    for loaded in dataset.load_definitions():
        name = loaded.value.name if loaded.value is not None else loaded.path.stem
        held[name] = loaded.value if loaded.value is not None else str(loaded.error)
    for variant in variants:
        outcome = _place_one(held, variant, refresh=refresh)
        if outcome.action != "conflict":
            held[outcome.definition.name] = outcome.definition
        yield outcome


def write(dataset: Dataset, outcomes: Iterable[Outcome]) -> None:
    """Write what `place` decided; what is unchanged or in conflict stays as it is."""
    for outcome in outcomes:
        if outcome.action in WRITTEN:
            dataset.write_definition(outcome.definition)


def _place_one(held: dict[str, Definition | str], variant: Variant, *, refresh: bool) -> Outcome:
    derived = variant.definition
    existing = held.get(derived.name)
    if existing is None:
        return Outcome("new", derived)
    if isinstance(existing, str):
        return Outcome("conflict", derived, "the existing file cannot be read", (existing,))
    differences = compare(existing, derived)
    if not differences:
        return _merge(existing, derived, refresh=refresh)
    if variant.fallback_name is None:
        return Outcome("conflict", derived, "exists and differs", tuple(differences))
    renamed = derived.model_copy(update={"name": variant.fallback_name})
    outcome = _place_one(held, Variant(renamed), refresh=refresh)
    note = f"{derived.name} is held by another variant ({'; '.join(differences)})"
    return replace(outcome, note=note)


def _merge(existing: Definition, derived: Definition, *, refresh: bool) -> Outcome:
    update: dict[str, object] = {"tags": merge_tags(existing.tags, derived.tags)}
    if refresh and existing.reference != derived.reference:
        # What verified the old text says nothing about the new one.
        others = [tag for tag in update["tags"] if not tag.startswith("status:")]
        update = {
            "tags": ["status:unverified", *others],
            "reference": derived.reference,
            "description": derived.description,
        }
    merged = existing.model_copy(update=update)
    if merged == existing:
        return Outcome("unchanged", existing)
    return Outcome("refreshed" if "reference" in update else "tagged", merged)


def compare(existing: Definition, derived: Definition) -> list[str]:
    """Where two definitions differ in interface or meaning: "field: existing X, derived Y"."""
    old, new = existing.signature(), derived.signature()
    differences = [
        f"{key}: existing {_shown(old[key], new[key])}, derived {_shown(new[key], old[key])}"
        for key in old
        if old[key] != new[key]
    ]
    if existing.op_type == derived.op_type in OP_TYPES:
        op = family(derived.op_type)
        was, now = op.semantics(existing), op.semantics(derived)
        differences += [
            f"{key}: existing {was.get(key)}, derived {now.get(key)}"
            for key in now
            if was.get(key) != now.get(key)
        ]
    return differences


def _shown(value: object, other: object) -> str:
    """Of two lists only the entries that the other lacks; everything where only order differs."""
    if isinstance(value, list) and isinstance(other, list):
        own = [entry for entry in value if entry not in other]
        value = own or ([] if len(value) < len(other) else [e[0] for e in value if e])
    return str(value)


def as_rows(outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
    """Plain JSON types, one row an outcome."""
    rows = []
    for outcome in outcomes:
        definition = outcome.definition
        row: dict[str, object] = {
            "action": outcome.action,
            "op_type": definition.op_type,
            "name": definition.name,
            "tags": definition.tags,
        }
        if outcome.note:
            row |= {"note": outcome.note, "differences": list(outcome.differences)}
        rows.append(row)
    return rows


def as_text(outcomes: Sequence[Outcome]) -> str:
    """One line an outcome; below, the notes with both sides of each difference."""
    lines = [f"{o.action:<10} {o.definition.op_type:<11} {o.definition.name}" for o in outcomes]
    for outcome in outcomes:
        if outcome.note:
            lines.append(f"\n{outcome.definition.name}: {outcome.note}")
            lines += [f"    {difference}" for difference in outcome.differences]
    return "\n".join(lines)


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many outcomes of each action."""
    found: dict[str, int] = {}
    for outcome in outcomes:
        found[outcome.action] = found.get(outcome.action, 0) + 1
    return found
