"""What is installed in an environment, seen from outside: nothing of it is imported."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import PathDistribution, distributions
from pathlib import Path

from kernelkit.machine.environments.locks import normal


def missing(folder: Path, pins: Mapping[str, str]) -> list[str]:
    """The pins (`name==version`) that are not wholly installed in the environment `folder`."""
    held = {name: version for name, version, whole in _held(folder) if whole}
    return [
        f"{name}=={version}"
        for name, version in pins.items()
        if name not in held or not _same(held[name], version)
    ]


def sweep(folder: Path) -> list[str]:
    """Take away the marks of packages whose installation was cut off; returns their names.

    An installer that finds such a mark takes the package for installed, or cannot replace it.
    """
    swept = []
    for site in _sites(folder):
        for mark in site.glob("*.dist-info"):
            if not _is_whole(PathDistribution(mark)):
                shutil.rmtree(mark)
                swept.append(mark.name.removesuffix(".dist-info"))
    return swept


def _held(folder: Path) -> Iterator[tuple[str, str, bool]]:
    for found in distributions(path=[str(site) for site in _sites(folder)]):
        name = found.metadata["Name"]
        if name:
            yield normal(name), found.version, _is_whole(found)


def _sites(folder: Path) -> list[Path]:
    return list(folder.glob("lib/python3*/site-packages"))


def _is_whole(found: PathDistribution) -> bool:
    """RECORD is written last; each file that it names must be there (byte code may be not)."""
    if found.read_text("RECORD") is None:
        return False
    return all(
        file.suffix == ".pyc" or Path(str(found.locate_file(file))).exists()
        for file in found.files or ()
    )


def _same(held: str, pinned: str) -> bool:
    """Whether a version is the pinned one: a build's mark (+cpu) and zeros at the end aside."""
    public = held if "+" in pinned else held.split("+")[0]
    return _short(public) == _short(pinned)


def _short(version: str) -> str:
    while version.endswith(".0"):
        version = version.removesuffix(".0")
    return version
