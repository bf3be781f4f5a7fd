"""All trace templates of a FlashInfer: which become definitions, what changed between two."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.capture.normalize.context import CallContext
from kernelkit.capture.normalize.normalizer import Smoke, Source, normalize, run_all, settle
from kernelkit.capture.normalize.outcome import Normalized
from kernelkit.capture.normalize.raw import public_api
from kernelkit.capture.normalize.survey import Entry, Survey

NO_REFERENCE = "the template carries no reference"


@dataclass(frozen=True)
class Covered:
    """A template and what becomes of its dump; no result where it gave no dump."""

    entry: Entry
    result: Normalized | None

    @property
    def verdict(self) -> str:
        """One line: the definition, or the reason."""
        if self.result is None:
            return self.entry.error or NO_REFERENCE
        if self.result.definition is not None:
            by = "family" if self.result.family else "own reference"
            return f"{by}: {self.result.definition.op_type}"
        return str(self.result.refusal)

    @property
    def state(self) -> str:
        """`family`, `template` (its own reference), `refused` or `no reference`."""
        if self.result is not None and self.result.definition is not None:
            return "family" if self.result.family else "template"
        return "refused" if self.entry.reference else "no reference"


def cover(survey: Survey, flashinfer: Path, smoke: Smoke | None) -> list[Covered]:
    """Normalise the dump of every template that carries a reference; run those of no family.

    A family's references are run where they are made; without `smoke` none is.
    """
    found = [Covered(entry, _normalized(entry, flashinfer)) for entry in survey.entries]
    results = [c.result for c in found if c.result is not None and not c.result.family]
    if smoke is not None:
        run_all(results, smoke)
    for result in results:
        settle(result)
    return found


def _normalized(entry: Entry, flashinfer: Path) -> Normalized | None:
    dump = entry.raw()
    if dump is None or not entry.reference:
        return None
    facts: dict[str, Any] = entry.facts or {"api": entry.api}
    call = CallContext.model_validate({**facts, "dump": dump.name})
    return normalize([dump], Source(calls=[call], flashinfer=flashinfer), Path("."))[0]


def changes(old: Survey, new: Survey) -> Iterator[tuple[str, str, str]]:
    """What differs: (kind, template, text). kind: added, removed, changed, reference, failed,
    or `not asked` where one version lacks a package.
    """
    before = {_key(entry): entry for entry in old.entries}
    after = {_key(entry): entry for entry in new.entries}
    for key in sorted(set(before) | set(after)):
        if key not in after:
            yield _alone("removed", key, before[key], new)
        elif key not in before:
            yield _alone("added", key, after[key], old)
        else:
            yield from _changed(key, before[key], after[key])


def _alone(kind: str, key: str, entry: Entry, other: Survey) -> tuple[str, str, str]:
    """A template of one version only, or of a module that the other could not import here."""
    for module in other.not_imported:
        if entry.api.startswith(f"{module['module']}."):
            return "not asked", key, f"{other.version}: {module['error']}"
    return kind, key, entry.op_type


def _key(entry: Entry) -> str:
    """A template under its public path: modules move between versions."""
    _, _, label = entry.key.partition(":")
    return f"{public_api(entry.api) or entry.api}:{label}" if label else entry.key


def _changed(key: str, old: Entry, new: Entry) -> Iterator[tuple[str, str, str]]:
    if old.dump is None or new.dump is None:
        if old.error != new.error:
            yield "failed", key, f"before: {old.error or 'a dump'}; now: {new.error or 'a dump'}"
        return
    for part in ("name", "op_type", "axes", "constraints", "inputs", "outputs"):
        was, now = _part(old.dump, part), _part(new.dump, part)
        if was != now:
            yield "changed", key, f"{part}: {_difference(was, now)}"
    texts = [str(dump.get("reference") or "") for dump in (old.dump, new.dump)]
    if texts[0] != texts[1]:
        digests = [hashlib.sha256(t.encode()).hexdigest()[:8] if t else "none" for t in texts]
        yield "reference", key, f"before {digests[0]}, now {digests[1]}"


def _part(dump: dict[str, Any], part: str) -> Any:
    """A part of a dump without descriptions, in the order of the dump."""
    value = dump.get(part) or []
    if part == "axes":
        return [f"{n}={a.get('value', a['type'])}" for n, a in value.items()]
    if part in ("inputs", "outputs"):
        return [f"{n}{s['shape'] or ''}:{s['dtype']}{'?' if s.get('optional') else ''}"
                for n, s in value.items()]  # fmt: skip
    return value


def _difference(was: Any, now: Any) -> str:
    if not isinstance(was, list) or not isinstance(now, list):
        return f"{was} -> {now}"
    gone = [str(x) for x in was if x not in now]
    come = [str(x) for x in now if x not in was]
    parts = [f"gone {', '.join(gone)}"] if gone else []
    parts += [f"new {', '.join(come)}"] if come else []
    return "; ".join(parts) or "another order"


def counts(covered: Iterable[Covered]) -> dict[str, int]:
    """How many templates of each state."""
    return dict(Counter(item.state for item in covered))


def table(survey: Survey, covered: Sequence[Covered]) -> str:
    """The coverage table as Markdown, one row an API."""
    tally = counts(covered)
    carried = sum(entry.reference for entry in survey.entries)
    lines = [
        "# Trace templates and what becomes of them",
        "",
        f"Generated from flashinfer-python {survey.version} by `python scripts/dump_templates.py "
        "--coverage`. Do not edit: run it again.",
        "",
        f"{len(survey.entries)} templates of {len({c.entry.api for c in covered})} APIs; "
        f"{carried} carry a reference. {tally.get('family', 0)} become a family's definition, "
        f"{tally.get('template', 0)} one with the template's own reference, "
        f"{tally.get('refused', 0)} are refused.",
        "",
        "| API | op_type | Templates | Becomes |",
        "| --- | --- | --- | --- |",
    ]
    for api in sorted({c.entry.api for c in covered}, key=lambda path: public_api(path) or path):
        lines.append(_row(api, [c for c in covered if c.entry.api == api]))
    missing = sorted(module["module"] for module in survey.not_imported)
    if missing:
        lines += ["", "Not asked, because these modules could not be imported there: "
                  + ", ".join(f"`{name}`" for name in missing) + "."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _row(api: str, items: list[Covered]) -> str:
    """One API: templates of the same fate are counted together."""
    verdicts = Counter(_cell(item.verdict) for item in items)
    shown = [f"{n} x {v}" if n > 1 and len(verdicts) > 1 else v for v, n in verdicts.items()]
    name = (public_api(api) or api).removeprefix("flashinfer.")
    kinds = ", ".join(sorted({item.entry.op_type for item in items}))
    return f"| `{name}` | {kinds} | {len(items)} | {'; '.join(shown)} |"


def _cell(text: str, most: int = 160) -> str:
    """A table cell: one line, no bars."""
    flat = " ".join(text.split()).replace("|", "/")
    return flat if len(flat) <= most else flat[: most - 3] + "..."
