"""A run of the normaliser: what was read, what became of it, and how it is told."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.capture.normalize import drift, pairing, raw
from kernelkit.capture.normalize.normalizer import Source, normalize
from kernelkit.capture.normalize.outcome import Normalized
from kernelkit.capture.normalize.raw import RawDump, Unread
from kernelkit.errors import MissingDependencyError, UsageError
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import placement
from kernelkit.ops.placement import Outcome

SIZES = (1, 2, 4, 8, 16)  # parallelism to look through where no tag and no record names one


@dataclass
class Report:
    """The results of all dumps, what writing does, and what could not be read."""

    results: list[Normalized] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many dumps were normalised, refused, unreadable; with drift, with assumptions."""
        return {
            "dumps": len({r.dump for r in self.results}) + len(self.unread),
            "calls": len(self.results),
            "normalized": sum(r.definition is not None for r in self.results),
            "refused": sum(r.refusal is not None for r in self.results),
            "unreadable": len(self.unread),
            "assumed": sum(bool(r.assumed) for r in self.results if r.definition),
            "drift": sum(bool(r.drift) for r in self.results if r.definition),
        }

    def failed(self, *, strict: bool) -> bool:
        """Conflicts and unreadable files fail; refusals and drift where it is asked for."""
        conflicts = any(o.action == "conflict" for o in self.outcomes)
        counts = self.counts()
        return bool(conflicts or self.unread or (strict and (counts["refused"] or counts["drift"])))

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        refusals = Counter(r.refusal.code for r in self.results if r.refusal)
        return {
            "counts": {**self.counts(), **placement.counts(self.outcomes)},
            "refusals": dict(refusals),
            "dumps": [result.as_dict() for result in self.results],
            "definitions": placement.as_rows(self.outcomes),
            "unreadable": [{"dump": u.path.name, "reason": u.reason} for u in self.unread],
            "warnings": self.problems,
        }


def as_text(report: Report, *, dry_run: bool) -> str:
    """Each dump, each definition, and the counts."""
    lines = [result.as_text() for result in report.results]
    lines += [
        f"{unread.path.name}\n    cannot be read: {unread.reason}" for unread in report.unread
    ]
    if report.outcomes:
        lines += ["", placement.as_text(report.outcomes)]
    counts = ", ".join(f"{count} {what}" for what, count in report.counts().items() if count)
    lines += ["", f"{counts}{' (dry run: nothing written)' if dry_run else ''}"]
    return "\n".join(lines)


def gather(
    folder: Path, context: Path | None, config: Path | None, tags: list[str],
    flashinfer: Path | None, *, strict: bool,
) -> Report:  # fmt: skip
    """Read and normalise a dump folder. Raises UsageError, NothingSelectedError, ConfigError."""
    paths = raw.find(folder)
    report = Report()
    dumps: list[RawDump] = []
    for found in raw.read([path for path in paths if path != context]):
        if isinstance(found, Unread):
            report.unread.append(found)
        else:
            dumps.append(found)
    files = [context] if context else pairing.beside(paths)
    calls, report.problems = pairing.load(files)
    lost = Counter(call.api for call in pairing.unused(dumps, calls))
    report.problems += [f"{n} recorded calls of {api} have no dump" for api, n in lost.items()]
    spec = None
    if config is not None:
        from kernelkit.models.load import load_model

        spec = load_model(None, None, config).spec
    source = Source(calls, spec, sources_of(flashinfer), tuple(tags), strict)
    report.results = normalize(dumps, source, folder)
    if spec is not None:
        sizes = {
            axis: _sizes(axis, tags, [getattr(c, axis) for c in calls]) for axis in ("tp", "ep")
        }
        grid = [Parallelism(tp, ep) for tp in sizes["tp"] for ep in sizes["ep"]]
        drift.against_config(report.results, spec, grid)
    return report


def _sizes(axis: str, tags: list[str], recorded: list[int | None]) -> list[int]:
    """The sizes that tags or records name, else all usual ones."""
    named = [tag.partition(":")[2] for tag in tags if tag.startswith(f"{axis}:")]
    if any(not (text.isdigit() and int(text)) for text in named):
        raise UsageError(f"not a {axis} size", received=named[0], allowed=f"{axis}:8")
    known = [int(text) for text in named] or [size for size in recorded if size]
    return sorted(set(known)) or list(SIZES)


def sources_of(folder: Path | None) -> Path | None:
    """The folder that holds flashinfer/: the one given, else the installed one; None for none.

    Raises UsageError where the one given holds none. Nothing is imported.
    """
    if folder is not None:
        if not (folder / "flashinfer").is_dir():
            raise UsageError("no flashinfer/ there", received=folder, allowed="e.g. site-packages")
        return folder
    places = [Path(entry) for entry in sys.path if entry]
    return next((p for p in places if (p / "flashinfer" / "trace").is_dir()), None)


def required_sources(folder: Path | None) -> Path:
    """As `sources_of`; raises MissingDependencyError where none is given and none installed."""
    found = sources_of(folder)
    if found is None:
        raise MissingDependencyError(
            "flashinfer is not installed", next_step="pip install flashinfer-python==0.6.12"
        )
    return found
