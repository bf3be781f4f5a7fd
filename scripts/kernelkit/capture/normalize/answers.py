"""What dump_templates.py tells: changes, agreement with a model, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernelkit.capture.normalize.model_calls import agreements
from kernelkit.capture.normalize.survey import Survey
from kernelkit.capture.normalize.templates import Covered, changes, counts
from kernelkit.dataset.definition import Definition
from kernelkit.models.spec import ModelSpec


@dataclass(frozen=True)
class Answer:
    """A JSON document, its text form, and whether everything agrees."""

    document: dict[str, object]
    text: str
    agrees: bool = True


def of_changes(old: Survey, new: Survey) -> Answer:
    """What differs between two FlashInfer versions; a difference is no failure."""
    found = list(changes(old, new))
    rows = [{"kind": kind, "template": key, "text": text} for kind, key, text in found]
    lines = [f"{kind:<10} {key}\n    {text}" for kind, key, text in found]
    lines.append(f"{old.version} to {new.version}: {len(found)} changes")
    document = {"old": old.version, "new": new.version, "changes": rows}
    return Answer(document, "\n".join(lines))


def of_model(definitions: list[Definition], found: Survey, spec: ModelSpec | None) -> Answer:
    """Each definition of a model, there and back."""
    results = agreements(definitions, found, spec)
    rows = [
        {"definition": a.definition.name, "state": a.state, "text": a.text, "dump": a.dump}
        for a in results
    ]
    text = "\n".join(f"{row['state']:<12} {row['definition']}  {row['text']}" for row in rows)
    agrees = all(a.state != "differs" for a in results)
    return Answer({"flashinfer": found.version, "definitions": rows}, text, agrees)


def of_coverage(found: Survey, covered: Sequence[Covered]) -> Answer:
    """Each template and what becomes of it."""
    rows = [{"template": c.entry.key, "state": c.state, "verdict": c.verdict} for c in covered]
    lines = [f"{row['state']:<13} {row['template']}\n    {row['verdict']}" for row in rows]
    lines += [f"not imported  {m['module']}: {m['error']}" for m in found.not_imported]
    tally = counts(covered)
    lines.append(f"{found.version}: " + ", ".join(f"{n} {state}" for state, n in tally.items()))
    document = {"flashinfer": found.version, "counts": tally, "templates": rows,
                "not_imported": found.not_imported}  # fmt: skip
    return Answer(document, "\n".join(lines))
