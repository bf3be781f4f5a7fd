"""repos_config.json: where the checkouts stand and at which commits, for every other skill.

    {"schema_version": 1,
     "repositories": {"sglang": {"path", "url", "revision", "branch", "tag", "sha",
                                 "commit_time", "shallow", "submodules", "blobs", "local_changes",
                                 "cloned_at", "updated_at", "installed_at"}}}

Times are UTC. A run that changes nothing leaves the file as it is, byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kernelkit.dataset.atomic import write_text
from kernelkit.errors import FormatError, UsageError
from kernelkit.places import command

FILE_NAME = "repos_config.json"
SCHEMA_VERSION = 1
DEFAULT_TARGET = Path("tmp")


@dataclass(frozen=True)
class Entry:
    """One checkout."""

    path: str  # absolute
    url: str  # where it was last fetched from
    sha: str
    revision: str | None = None  # as it was asked for; None: the default branch
    branch: str | None = None  # None: detached
    tag: str | None = None  # a tag of this commit
    commit_time: str = ""
    shallow: bool = False
    submodules: dict[str, str] = field(default_factory=dict)  # path to commit
    blobs: str = "none"  # Git-LFS objects: none in this repository, pointers, some or present
    local_changes: int = 0  # tracked files that differ from the commit
    cloned_at: str | None = None  # None: someone else cloned it
    updated_at: str = ""  # when this pack last saw the commit change
    installed_at: str | None = None  # when --install installed it, last


@dataclass(frozen=True)
class ReposConfig:
    """The file's contents."""

    repositories: dict[str, Entry] = field(default_factory=dict)

    def path_of(self, name: str) -> Path:
        """Where this repository stands. Raises UsageError if it is not recorded or not there."""
        entry = self.repositories.get(name)
        if entry is None or not Path(entry.path).is_dir():
            raise UsageError(
                f"{name} is not cloned",
                next_step=f"{command('clone_repos.py')} --repos {name}",
            )
        return Path(entry.path)

    def to_text(self) -> str:
        """The file's text."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "repositories": {
                name: asdict(entry) for name, entry in sorted(self.repositories.items())
            },
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read(target: Path = DEFAULT_TARGET) -> ReposConfig:
    """The config of a target folder (or of the file itself); an empty one if there is none.

    Raises FormatError for a file that is not of this form.
    """
    path = target if target.suffix == ".json" else target / FILE_NAME
    if not path.is_file():
        return ReposConfig()
    try:
        document = json.loads(path.read_bytes())
        if document["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version {document['schema_version']}")
        return ReposConfig(
            {name: _entry(values) for name, values in document["repositories"].items()}
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{path} is not a {FILE_NAME}",
            received=f"{type(error).__name__}: {error}",
            next_step=f"remove it and run {command('clone_repos.py')} --offline",
        ) from None


def _entry(values: dict[str, Any]) -> Entry:
    known = {f.name for f in fields(Entry)}
    return Entry(**{key: value for key, value in values.items() if key in known})


def write(target: Path, config: ReposConfig) -> bool:
    """Write the config; False where the file already says just that."""
    return write_text(target / FILE_NAME, config.to_text())


def renewed(old: Entry | None, new: Entry, now: str, *, cloned: bool) -> Entry:
    """`new` with its times: cloned now or as before, updated now if the commit is another."""
    if cloned or old is None:
        return replace(new, cloned_at=now if cloned else None, updated_at=now)
    same = old.sha == new.sha
    return replace(
        new,
        cloned_at=old.cloned_at,
        updated_at=old.updated_at if same else now,
        installed_at=old.installed_at,
    )
