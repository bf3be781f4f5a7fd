"""A model's definitions held against FlashInfer's templates, called with their shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kernelkit.capture.normalize.context import CallContext
from kernelkit.capture.normalize.normalizer import Source, normalize
from kernelkit.capture.normalize.raw import Refusal
from kernelkit.capture.normalize.survey import Entry, Survey
from kernelkit.dataset.definition import Definition
from kernelkit.models.spec import ModelSpec
from kernelkit.ops import placement


@dataclass(frozen=True)
class Agreement:
    """One derived definition: what its template says, and what its dump normalises to.

    state: "agrees", "differs" (axes or types, or another definition comes back), "no template".
    """

    definition: Definition
    state: str
    text: str = ""
    dump: str = ""


def agreement(definition: Definition, entry: Entry, spec: ModelSpec | None) -> Agreement:
    """The way there and back: definition -> call -> dump -> definition."""
    raw = entry.raw()
    if raw is None:
        return Agreement(definition, "no template", entry.error)
    if entry.differences:
        return Agreement(definition, "differs", "; ".join(entry.differences), raw.name)
    facts = {**(entry.facts or {"api": entry.api}), "dump": raw.name}
    call = CallContext.model_validate(facts)
    stage = _stage(definition)
    if call.facts.stage is None and stage:  # MLA's two stages are one call to the template
        call.facts.stage = stage
    result = normalize([raw], Source([call], spec), Path("."))[0]
    if result.definition is None:
        return Agreement(definition, "differs", str(result.refusal or Refusal("", "")), raw.name)
    differences = placement.compare(definition, result.definition)
    if differences:
        return Agreement(definition, "differs", "; ".join(differences), raw.name)
    return Agreement(definition, "agrees", f"{entry.compared} axes and types", raw.name)


def _stage(definition: Definition) -> str | None:
    stages = [tag.partition(":")[2] for tag in definition.tags if tag.startswith("stage:")]
    return stages[0] if stages and stages[0] in ("decode", "prefill") else None


def agreements(
    definitions: list[Definition], survey: Survey, spec: ModelSpec | None
) -> list[Agreement]:
    """One for each definition, in order."""
    pairs = zip(definitions, survey.entries, strict=True)
    return [agreement(definition, entry, spec) for definition, entry in pairs]
