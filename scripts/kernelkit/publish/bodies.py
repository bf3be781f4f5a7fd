"""Titles, commit messages and the texts of pull requests, from `templates/`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernelkit.publish import evidence
from kernelkit.publish.changes import Changes
from kernelkit.publish.checklist import Check
from kernelkit.publish.evidence import Evidence
from kernelkit.publish.rendering import render

DATASET, COVERAGE = "dataset_pull_request.md.j2", "coverage_pull_request.md.j2"
_PLACES = {
    "definitions": "definition", "tests": "reference test", "solutions": "baseline solution",
    "workloads": "workloads", "blob": "recorded tensors", "traces": "traces",
}  # fmt: skip
_METRICS = {
    "max_abs_error": "max abs error {:.2g}", "mean_abs_error": "mean abs error {:.2g}",
    "max_rel_error": "max rel error {:.2g}", "mean_rel_error": "mean rel error {:.2g}",
    "chi_square": "chi-square {:.4g}", "cells": "{} cells", "cosine": "cosine {:.6f}",
    "matched_ratio": "matched {:.2%}",
}  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """The title of a pull request (and of its commit), and the body."""

    title: str
    body: str


def dataset_texts(
    held: Evidence, changes: Changes, checks: Sequence[Check], *, is_new: bool, model: str | None
) -> Texts:
    """Of the pull request to the dataset."""
    name = held.definition.name
    parts = _parts(changes.paths)
    title = f"Add {name}" if is_new else f"Update {name}: {', '.join(parts)}"
    body = render(
        DATASET, definition=held.definition, is_new=is_new, model=model, parts=parts,
        added=changes.added, changed=sorted(set(changes.files) - set(changes.added)),
        removed=changes.removed, workloads=held.workloads, ranges=evidence.ranges(held.workloads),
        origins=evidence.origins(held.workloads), timings=evidence.timings(held.traces),
        blob_count=held.blob_count, blob_mb=held.blob_bytes / 1e6, test=_test(held), checks=checks,
    )  # fmt: skip
    return Texts(title, body)


def coverage_texts(
    held: Evidence, models: Sequence[str], checks: Sequence[Check], link: str | None
) -> Texts:
    """Of the pull request to the repository of the coverage document; `link` is the dataset's."""
    name = held.definition.name
    body = render(
        COVERAGE, definition=held.definition, models=models, checks=checks, link=link,
        workloads=held.workloads, traces=held.traces,
    )  # fmt: skip
    return Texts(f"Model coverage: {name}", body)


def _parts(paths: Iterable[str]) -> list[str]:
    """What the paths are, in words, in the order in which they are read."""
    tops = {path.split("/")[0] for path in paths}
    return [word for top, word in _PLACES.items() if top in tops]


def _test(held: Evidence) -> dict[str, Any] | None:
    """What the reference test's run says; None where none of this definition is recorded."""
    if held.outcome is None or not held.is_outcome_current:
        return None
    rows = []
    for truth, sizes in (held.outcome.get("ground_truth") or {}).items():
        for size, row in sizes.items():
            said = row.get("metrics") or row.get("reason") or ""
            rows.append({"truth": truth, "size": size, "outcome": row["outcome"],
                         "text": _metrics(said)})  # fmt: skip
    return {**held.outcome, "rows": rows}


def _metrics(said: object) -> str:
    """The errors of each output that a reviewer reads, or the reason why there are none."""
    if not isinstance(said, Mapping):
        return str(said).split("\n")[0][:200]
    told = {name: [text.format(found[key]) for key, text in _METRICS.items() if key in found]
            for name, found in said.items()}  # fmt: skip
    return "; ".join(f"`{name}`: {', '.join(texts)}" for name, texts in told.items())


def script(commands: Sequence[Sequence[str]]) -> str:
    """A shell script of the commands that publish by hand."""
    lines = [shlex.join(words) for words in commands]
    return "#!/bin/sh\n# Publishes what was prepared, by hand.\nset -e\n" + "\n".join(lines) + "\n"
