"""Run the checks over a dataset: every file by itself, so that no fault hides another."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset, Loaded, load_json
from kernelkit.dataset.validate import definitions as of_definitions
from kernelkit.dataset.validate.belongings import Belongings
from kernelkit.dataset.validate.definitions import Problem
from kernelkit.dataset.validate.layout import unread_files
from kernelkit.dataset.validate.mend import mended
from kernelkit.dataset.validate.references import check_reference
from kernelkit.dataset.validate.report import Report, read_raw
from kernelkit.errors import NothingSelectedError

CHECKS = ("layout", "definition", "reference", "workload", "solution", "trace")


def validate(
    dataset: Dataset,
    names: list[str] | None = None,
    op_types: list[str] | None = None,
    checks: Iterable[str] = CHECKS,
    progress: Callable[[list[Path]], Iterable[Path]] = lambda paths: paths,
) -> Report:
    """All findings of the selected definitions and of what belongs to them.

    Raises NothingSelectedError where a name or an op type matches nothing, or nothing is there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's, on the texts that are checked
        return _validate(dataset, names, op_types, set(checks), progress)


def _validate(
    dataset: Dataset,
    names: list[str] | None,
    op_types: list[str] | None,
    checks: set[str],
    progress: Callable[[list[Path]], Iterable[Path]],
) -> Report:
    report = Report()
    found = [_load(path) for path in dataset.files("definitions", ".json")]
    chosen = _select(found, names, op_types)
    whole = names is None and op_types is None
    if not chosen and not (whole and _has_belongings(dataset)):
        raise NothingSelectedError(
            "the dataset has no such definitions", received=_wanted(dataset, names, op_types)
        )
    known = {d.value.name: d.value for d in found if d.value is not None}
    report.definitions = {d.value.name: d.value for d in chosen if d.value is not None}
    report.paths = {d.value.name: d.path for d in chosen if d.value is not None}
    for loaded in chosen:
        _definition(dataset, report, loaded, checks)
    if "layout" in checks:
        _same_names(dataset, report, chosen)
    broken = {loaded.path.stem for loaded in found if loaded.value is None}
    wanted = None if whole else {loaded.path.stem for loaded in chosen}
    rest = Belongings(dataset, report, known, broken, wanted)
    rest.run(checks, progress)
    if "layout" in checks and whole:
        for path in unread_files(dataset, rest.blobs):
            problem = ("P6", "", path.name, "move it to where it belongs, or remove it")
            report.add(dataset, path, [problem])
    missing = sum(of_definitions.undescribed(d) for d in report.definitions.values())
    report.counts = {"definitions": len(chosen), **rest.counts, "missing descriptions": missing}
    return report


def _load(path: Path) -> Loaded[Definition]:
    try:
        return load_json(Definition, path)
    except (RecursionError, MemoryError):
        return Loaded(path, None, "nested too deeply to be read")


def _has_belongings(dataset: Dataset) -> bool:
    return any(
        dataset.files(folder, suffix)
        for folder, suffix in (
            ("workloads", ".jsonl"),
            ("traces", ".jsonl"),
            ("solutions", ".json"),
        )
    )


def _wanted(dataset: Dataset, names: list[str] | None, op_types: list[str] | None) -> str:
    parts = [f"definitions {', '.join(names)}" if names else "",
             f"op types {', '.join(op_types)}" if op_types else ""]  # fmt: skip
    return " with ".join(part for part in parts if part) or str(dataset.root)


def _select(
    found: list[Loaded[Definition]], names: list[str] | None, op_types: list[str] | None
) -> list[Loaded[Definition]]:
    """The selected definition files; every name and op type must match one."""
    stems = {loaded.path.stem for loaded in found}
    for name in names or []:
        if name not in stems:
            close = difflib.get_close_matches(name, sorted(stems), n=3, cutoff=0.5)
            raise NothingSelectedError(
                "no such definition in the dataset",
                received=name,
                allowed=f"e.g. {', '.join(close)}" if close else f"{len(stems)} others",
            )
    folders = {loaded.path.parent.name for loaded in found}
    for op_type in op_types or []:
        if op_type not in folders:
            allowed = ", ".join(sorted(folders)) or "none: the dataset has no definitions"
            raise NothingSelectedError("no such op type in the dataset", received=op_type,
                                       allowed=allowed)  # fmt: skip
    return [
        loaded
        for loaded in found
        if (names is None or loaded.path.stem in names)
        and (op_types is None or loaded.path.parent.name in op_types)
    ]


def _definition(
    dataset: Dataset, report: Report, loaded: Loaded[Definition], checks: set[str]
) -> None:
    path, definition = loaded.path, loaded.value
    document, twice = read_raw(path)
    if document is None:
        report.add(dataset, path, [("P1", "", str(loaded.error), "repair or remove the file")])
        return
    format_problems = Report()
    format_problems.add(dataset, path, of_definitions.check_document(document))
    codes = {finding.code for finding in format_problems.findings}
    if "definition" in checks:
        report.findings += format_problems.findings
        report.add(dataset, path, [("S10", k, f"{k!r} occurs twice", "keep one") for k in twice])
        if definition is None and codes <= {"S0"}:
            problem = ("S8", "", str(loaded.error), "see the definition's schema")
            report.add(dataset, path, [problem])
        report.add(dataset, path, _sense(document, definition))
    if "layout" in checks:
        report.add(dataset, path, _place(path, document))
    if "reference" in checks and not codes & {"S2", "S3", "P5"}:
        report.add(dataset, path, check_reference(document))


def _sense(document: dict[str, Any], definition: Definition | None) -> Iterator[Problem]:
    usable = definition if definition is not None else mended(document)
    if usable is not None:
        yield from of_definitions.check_definition(usable)


def _place(path: Path, document: dict[str, object]) -> Iterator[Problem]:
    name, op_type = document.get("name"), document.get("op_type")
    if isinstance(name, str) and path.stem != name:
        yield "P2", "name", name, f"rename the file to {name}.json"
    if isinstance(op_type, str) and path.parent.name != op_type:
        yield "P3", "op_type", op_type, f"move it to {op_type}/"


def _same_names(dataset: Dataset, report: Report, chosen: list[Loaded[Definition]]) -> None:
    seen: dict[str, Path] = {}
    for loaded in chosen:
        if loaded.value is None:
            continue
        first = seen.setdefault(loaded.value.name, loaded.path)
        if first != loaded.path:
            problem = ("P4", "name", f"also {dataset.relative(first)}", "rename or remove one")
            report.add(dataset, loaded.path, [problem])
