"""What could be onboarded next: SGLang's architectures and cookbook models without coverage."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kernelkit.dataset.store import Dataset
from kernelkit.errors import MissingDependencyError, NothingSelectedError, UsageError
from kernelkit.inventory.coverage.lines import read_document, titles_of
from kernelkit.inventory.coverage.titles import Titles
from kernelkit.inventory.revisions import git_bytes
from kernelkit.models.cookbook import DEFAULT_CHECKOUT, all_models
from kernelkit.sglang.entries import entry_classes
from kernelkit.sglang.tree import SglangTree, locate


@dataclass(frozen=True)
class Architecture:
    """A model class that SGLang serves. `added`: it is absent from the older revision."""

    name: str
    file: str
    line: int
    added: bool | None = None


@dataclass(frozen=True)
class CookbookModel:
    """A model with a serving configuration; `covered`: the document or the dataset names it."""

    repo_id: str
    sizes: tuple[str, ...]
    file: str
    covered: bool


def architectures(tree: SglangTree, before: str | None = None) -> list[Architecture]:
    """SGLang's model classes; with `before`, each says whether that revision lacked it.

    `before` is another tree of sources (a path), or a revision of the checkout that holds `tree`.
    Raises UsageError where it is neither.
    """
    now = _entries({_relative(tree, f): _text(f) for f in sorted(tree.models.glob("*.py"))})
    if before is None:
        return list(now.values())
    then = _entries(_files_before(tree, before))
    return [replace(found, added=name not in then) for name, found in now.items()]


def cookbook_models(checkout: Path, covered: Titles) -> list[CookbookModel]:
    """Every model of the cookbook, with whether `covered` names it."""
    found = []
    for repo_id, configs in sorted(all_models(checkout).items()):
        sizes = tuple(dict.fromkeys(f"tp={c.tp} ep={c.ep}" for c in configs))
        found.append(CookbookModel(repo_id, sizes, configs[0].file, covered.has(repo_id)))
    return found


def _entries(files: dict[str, str]) -> dict[str, Architecture]:
    """The entry classes of some model files (path -> text), with the line of each class."""
    found: dict[str, Architecture] = {}
    for file, text in files.items():
        for name in entry_classes(text):
            found.setdefault(name, Architecture(name, file, _class_line(text, name)))
    return found


def _class_line(text: str, name: str) -> int:
    """Where the class is defined, else where the file lists it: a class may be imported."""
    match = re.search(rf"^class {re.escape(name)}\b", text, re.MULTILINE)
    match = match or re.search(r"^EntryClass\b", text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else 1


def _files_before(tree: SglangTree, before: str) -> dict[str, str]:
    path = Path(before).expanduser()
    if path.is_dir():
        older = locate(path)
        return {_relative(older, f): _text(f) for f in sorted(older.models.glob("*.py"))}
    found = _files_at(tree.models, before)
    if found is None:
        raise UsageError(
            "neither a folder of SGLang sources nor a revision of this checkout",
            received=before,
            allowed=f"a path, or a branch, tag or commit of the git checkout of {tree.root}",
        )
    return found


def _files_at(folder: Path, revision: str) -> dict[str, str] | None:
    """The model files of a revision, by one `git archive`; None where git knows it not."""
    if revision.startswith("-"):
        return None
    data = git_bytes(folder, "archive", "--format=tar", revision, ".")
    if data is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(".py")]
        texts = {m.name: archive.extractfile(m) for m in members if "/" not in m.name}
        return {name: f.read().decode("utf-8", "replace") for name, f in texts.items() if f}


def _relative(tree: SglangTree, file: Path) -> str:
    return file.relative_to(tree.base).as_posix()


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Candidates:
    """What `--discover` found. A source that was not looked at gave nothing, and says so."""

    architectures: tuple[Architecture, ...]
    models: tuple[CookbookModel, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def discover(
    *,
    sglang: Path | None,
    since: str | None,
    cookbook: Path | None,
    document: Path | None,
    dataset: Path | None,
) -> Candidates:
    """Both lists. Raises NothingSelectedError where neither SGLang nor a cookbook is at hand."""
    notes: list[str] = []
    covered = covered_titles(document, dataset)
    if not covered.names:
        notes.append("no coverage document or dataset was named: nothing counts as covered")
    found = _architectures_of(sglang, since, notes)
    models: list[CookbookModel] = []
    if cookbook is not None or DEFAULT_CHECKOUT.is_dir():
        models = cookbook_models(cookbook or DEFAULT_CHECKOUT, covered)
    else:
        notes.append("no cookbook: name a checkout with --cookbook")
    if not found and not models:
        raise NothingSelectedError("nothing to discover from", received="; ".join(notes))
    return Candidates(tuple(found), tuple(models), tuple(notes))


def _architectures_of(
    sglang: Path | None, since: str | None, notes: list[str]
) -> list[Architecture]:
    try:
        return architectures(locate(sglang), since)
    except MissingDependencyError as error:
        notes.append(str(error))
        return []


def covered_titles(document: Path | None, dataset: Path | None) -> Titles:
    """The models that the coverage document's headings and the dataset's model: tags name."""
    names: list[str] = []
    if document is not None:
        names += titles_of(read_document(document))
    if dataset is not None:
        held = Dataset.open(dataset).definitions().values()
        tags = {tag.removeprefix("model:") for d in held for tag in d.tags if tag[:6] == "model:"}
        names += sorted(tags)
    return Titles(tuple(dict.fromkeys(names)))


def as_text(found: Candidates) -> str:
    """Two lists: architectures (only the added ones, with a revision) and uncovered models."""
    lines: list[str] = []
    dated = any(a.added is not None for a in found.architectures)
    shown = [a for a in found.architectures if a.added or not dated]
    if found.architectures:
        what = "added since then" if dated else "in SGLang"
        lines.append(f"{len(shown)} architectures {what}:")
        lines += [f"  {a.name:<44} {a.file}:{a.line}" for a in shown]
    if found.models:
        open_ones = [m for m in found.models if not m.covered]
        lines += ["", f"{len(open_ones)} of {len(found.models)} cookbook models without coverage:"]
        lines += [f"  {m.repo_id:<52} {'; '.join(m.sizes)}" for m in open_ones]
    return "\n".join([*lines, "", *found.notes]).strip()
