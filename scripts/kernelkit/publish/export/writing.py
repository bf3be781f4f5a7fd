"""An export's folder: the views, the statistics, the cards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kernelkit.dataset import atomic
from kernelkit.errors import UsageError
from kernelkit.publish.export import card, counting, tables
from kernelkit.publish.export.card import Facts
from kernelkit.publish.export.views import VIEWS, Tables

README, STATISTICS = "README.md", "statistics.json"


def check_folder(folder: Path) -> None:
    """Raises UsageError for a file, and for a folder whose README was not written by an export."""
    if folder.is_file():
        raise UsageError("the output is a file", received=folder, allowed="a folder")
    readme = folder / README
    if readme.is_file() and card.MARK not in readme.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(
            "the folder's README.md was written by someone else", received=readme,
            next_step="export to another folder, and take over what you want",
        )  # fmt: skip


def files(found: Tables, formats: Sequence[str], facts: Facts) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every file. A card comes behind the files that it names.

    The card at the top is of the first format; each further one has a card in its own folder.
    """
    counted = counting.statistics(found)
    yield STATISTICS, counting.as_text(counted).encode("utf-8")
    shown = [view for view in VIEWS if found.rows[view.name]]
    for place, kind in enumerate(formats):
        for view in shown:
            yield tables.path_of(view, kind), tables.encode(view, found.rows[view.name], kind)
        top = place == 0
        paths = {v.name: tables.path_of(v, kind) if top else f"{v.name}.{kind}" for v in shown}
        own = facts if top else replace(facts, repo_id=f"path/to/{kind}")
        text = card.card(counted, paths, own)
        yield (README if top else f"{kind}/{README}"), text.encode("utf-8")


def stale(folder: Path, written: Collection[str]) -> list[Path]:
    """What an earlier export wrote and this one did not: views without rows, other formats."""
    known = {tables.path_of(view, kind) for view in VIEWS for kind in tables.FORMATS}
    known |= {f"{kind}/{README}" for kind in tables.FORMATS}
    return [folder / path for path in sorted(known - set(written)) if (folder / path).is_file()]


def write(folder: Path, path: str, data: bytes) -> bool:
    """Write one file; False where it already holds just that."""
    return atomic.write_bytes(folder / path, data)
