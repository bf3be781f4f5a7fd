"""Read what is to be checked: a Solution JSON, a folder of sources, or a template pair.

Reading is lenient: what the format refuses becomes a finding, and the rest is still checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import (
    BuildSpec,
    SourceFile,
    content_fault,
    path_clashes,
    path_fault,
)
from kernelkit.errors import FormatError, UsageError
from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.constants import set_constants, values_of
from kernelkit.solutions.folder import MANIFEST, source_paths

PATTERN_DEFAULTS = {"entry_point": "main.py::run", "language": "python",
                    "target_hardware": ["cpu", "cuda"],
                    "destination_passing_style": False}  # fmt: skip


@dataclass
class Target:
    """A solution as far as it can be read. `patterns` name the definitions that it serves."""

    path: Path
    name: str
    patterns: list[str]
    spec: BuildSpec | None
    sources: dict[str, str]
    findings: list[Finding] = field(default_factory=list)
    pattern_form: bool = False

    def definitions(self, known: Mapping[str, Definition]) -> list[Definition]:
        """The definitions that the solution is for, in order of name."""
        return [
            known[name] for name in sorted(known)
            if any(name == p or fnmatchcase(name, p) for p in self.patterns)
        ]  # fmt: skip

    def sources_for(self, definition: Definition) -> dict[str, str]:
        """The sources, in the pattern form with the definition's constants set."""
        if not self.pattern_form:
            return self.sources
        fixed = values_of(definition)
        return {path: set_constants(text, fixed) for path, text in self.sources.items()}


def find(path: Path) -> list[Path]:
    """The solution files and folders at `path`. Raises UsageError where there is none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError("no such file or folder", received=path)
    if (path / MANIFEST).is_file():
        return [path]
    found = [p.parent if p.name == MANIFEST else p for p in sorted(path.rglob("*.json"))]
    inside = [p for p in found if p.is_dir()]
    found = [p for p in found if not any(i in p.parents for i in inside)]
    if not found:
        raise UsageError(f"no {MANIFEST} and no Solution JSON in the folder", received=path)
    return found


def read(path: Path) -> Target:
    """The target at a file or a folder that `find` gave."""
    target = Target(path, path.stem if path.is_file() else path.name, [], None, {})
    try:
        document = _document(path / MANIFEST if path.is_dir() else path)
    except FormatError as error:
        target.findings.append(Finding("KS100", path.name, str(error)))
        return target
    _header(target, document)
    listed = document.get("sources")
    if path.is_dir():
        _folder_sources(target)
    elif not listed and (main := path.with_name(f"{path.stem}_main.py")).is_file():
        _template_sources(target, main, document)
    else:
        _packed_sources(target, listed)
    target.findings += _path_findings(target.sources)
    return target


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FormatError("not a JSON object", received=type(found).__name__)
    return found


def _header(target: Target, document: dict[str, Any]) -> None:
    """Name, definition and spec; the pattern form has the spec's keys at the top."""
    if isinstance(document.get("name"), str):
        target.name = document["name"]
    patterns = document.get("definitions")
    target.pattern_form = isinstance(patterns, list)
    target.patterns = patterns if target.pattern_form else [document.get("definition")]
    target.patterns = [p for p in target.patterns if isinstance(p, str)]
    spec = {**PATTERN_DEFAULTS, **document} if target.pattern_form else document.get("spec")
    wanted = ("name",) if target.pattern_form else ("name", "definition", "author", "spec")
    for key in wanted:
        if not document.get(key):
            target.findings.append(Finding("KS100", target.path.name, f"{key!r} is missing"))
    if isinstance(spec, dict):
        known = {k: v for k, v in spec.items() if k in BuildSpec.model_fields}
        try:
            target.spec = BuildSpec.model_validate(known)
        except ValidationError as error:
            for item in error.errors(include_url=False, include_context=False):
                text = f"spec.{'.'.join(map(str, item['loc']))}: {item['msg']}"
                target.findings.append(Finding("KS100", target.path.name, text))


def _packed_sources(target: Target, listed: object) -> None:
    if not isinstance(listed, list) or not listed:
        target.findings.append(Finding("KS100", target.path.name, "has no sources"))
        return
    for number, source in enumerate(listed):
        path = source.get("path") if isinstance(source, dict) else None
        text = source.get("content") if isinstance(source, dict) else None
        if not isinstance(path, str) or not isinstance(text, str) or not path:
            where = f"sources[{number}] needs {' and '.join(SourceFile.model_fields)}"
            target.findings.append(Finding("KS100", target.path.name, where))
        elif path in target.sources:
            target.findings.append(Finding("KS208", path, "stands twice among the sources"))
        else:
            _add(target, path, text)


def _folder_sources(target: Target) -> None:
    try:
        paths = source_paths(target.path)
    except FormatError as error:
        target.findings.append(Finding("KS100", target.path.name, str(error)))
        return
    for inside in paths:
        _add_file(target, inside, target.path / inside)


def _template_sources(target: Target, main: Path, document: dict[str, Any]) -> None:
    _add_file(target, "main.py", main)
    for inside in document.get("files") or []:
        _add_file(target, str(inside), main.parent / str(inside))


def _add_file(target: Target, inside: str, file: Path) -> None:
    try:
        _add(target, inside, file.read_bytes().decode("utf-8"))
    except OSError as error:
        target.findings.append(Finding("KS100", inside, f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError:
        target.findings.append(Finding("KS100", inside, "is not UTF-8 text"))


def _add(target: Target, path: str, text: str) -> None:
    if not text.strip():
        target.findings.append(Finding("KS203", path, "flashinfer-bench refuses a file of no text"))
    if fault := content_fault(text):
        target.findings.append(Finding("KS100", path, fault))
    target.sources[path] = text


def _path_findings(sources: Mapping[str, str]) -> Iterator[Finding]:
    for path in sources:
        if fault := path_fault(path):
            yield Finding("KS208", path, f"the path {fault}")
    for text in path_clashes(sources):
        yield Finding("KS208", next(iter(sources)), text)
