"""What a submission changes: the staged files held against the base, and what both came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.errors import ConflictError
from kernelkit.places import command
from kernelkit.publish import pointers
from kernelkit.publish.belongings import Staged, scope
from kernelkit.publish.repository import Repository
from kernelkit.publish.workspace import Source, is_below


@dataclass(frozen=True)
class Changes:
    """Paths with their new content, and paths that go. `kept` are staged as the base has them."""

    files: dict[str, Source] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Every path that differs from the base."""
        return sorted([*self.files, *self.removed])

    def __bool__(self) -> bool:
        return bool(self.files or self.removed)


def changes_of(repository: Repository, staged: Staged, origin: str | None) -> Changes:
    """Hold the staged files against the base.

    `origin` is the commit that the staging folder started from (None: no checkout). A file that
    is as it was there is not ours to change, whatever the base made of it since. Raises
    ConflictError where a file changed here and in the base, and where published lines would go.
    """
    base = repository.base.sha
    roots = _roots(staged)
    held = repository.blobs(base, roots)
    before = repository.blobs(origin, roots) if origin else {}
    lfs = pointers.given_to_lfs(repository.git, repository.root, list(staged.files))
    files: dict[str, Source] = {}
    kept = []
    for path, source in staged.files.items():
        mine = _blob_name(source, path in lfs, base)
        if mine == held.get(path) or (origin and mine == before.get(path)):
            kept.append(path)
            continue
        if origin and path in held and held[path] != before.get(path):
            raise _both(path, repository)
        if not origin and path in held and path.endswith(".jsonl"):
            _require_all_lines(repository, base, path, source)
        files[path] = source
    removed = [p for p in before if _is_dropped(p, staged, held, before)]
    added = tuple(path for path in files if path not in held)
    return Changes(files, added, tuple(removed), tuple(kept))


def _roots(staged: Staged) -> list[str]:
    """Places without wildcards, and each staged path that lies elsewhere."""
    roots = [root for root in scope(staged.definition) if "*" not in root]
    return [*roots, *(path for path in staged.files if not is_below(path, roots))]


def _is_dropped(
    path: str, staged: Staged, held: Mapping[str, str], before: Mapping[str, str]
) -> bool:
    """A recorded tensor that was there, that no line names any more, and that is gone here."""
    gone = path.startswith("blob/") and not (staged.root / path).exists()
    return gone and held.get(path) == before[path]


def _blob_name(source: Source, is_lfs: bool, like: str) -> str:
    """The name that git gives the content: of the pointer, where the path is given to Git-LFS."""
    if isinstance(source, Path) and is_lfs and (found := pointers.object_of(source)):
        source = found.text
    data = source if isinstance(source, bytes) else source.read_bytes()
    made = hashlib.sha256() if len(like) == 64 else hashlib.sha1()
    made.update(b"blob %d\0" % len(data))
    made.update(data)
    return made.hexdigest()


def _require_all_lines(repository: Repository, base: str, path: str, source: Source) -> None:
    mine = source if isinstance(source, bytes) else source.read_bytes()
    lost = set(repository.content(base, path).splitlines()) - set(mine.splitlines())
    if lost:
        raise ConflictError(
            f"{path} lacks {len(lost)} lines that are published",
            received="the dataset folder is no checkout: whether they were removed is not known",
            next_step="add them to the file, or stage in a checkout of the dataset",
        )


def _both(path: str, repository: Repository) -> ConflictError:
    return ConflictError(
        f"{path} was changed here, and in {repository.remote}/{repository.base.branch} since",
        next_step=f"bring the checkout up to date ({command('clone_repos.py')}), put the two "
        "together, then run this again",
    )
