"""Where SGLang's sources lie: a checkout, an unpacked wheel, or the installed package."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import MissingDependencyError, UsageError

_VERSION = re.compile(r"^(?:__version__\s*=\s*)?version\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)
_PROJECT = re.compile(r"^(?:version|fallback_version)\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)


@dataclass(frozen=True)
class SglangTree:
    """SGLang's sources. `root` is the package folder, the one that holds `srt/`."""

    root: Path
    version: str

    @property
    def base(self) -> Path:
        """The folder that holds the package; files are named relative to it (`sglang/srt/...`)."""
        return self.root.parent

    @property
    def models(self) -> Path:
        """The folder with one file per model family."""
        return self.root / "srt" / "models"


def locate(path: Path | None = None) -> SglangTree:
    """The sources under `path`, or those of the installed package where `path` is None.

    `path` may be a checkout, an unpacked wheel, the package folder or its `srt`. Raises UsageError
    for a path without SGLang, MissingDependencyError where the package is not installed.
    """
    if path is None:
        return _installed()
    path = Path(path)
    if not path.is_dir():
        raise UsageError(
            "no such folder of SGLang sources",
            received=path,
            next_step="python scripts/clone_repos.py --repos sglang, which makes tmp/sglang",
        )
    for root in (path / "python" / "sglang", path / "sglang", path, path.parent):
        if (root / "srt" / "models").is_dir() and (root is not path.parent or path.name == "srt"):
            return SglangTree(root, _version(root))
    raise UsageError(
        "this folder holds no SGLang sources",
        received=path,
        allowed="a checkout (python/sglang/srt), an unpacked wheel (sglang/srt), or sglang itself",
        next_step="pip download --no-deps --no-binary :none: sglang==0.5.14, and unzip the wheel",
    )


def _installed() -> SglangTree:
    # find_spec of a top-level package reads its location and runs none of its code.
    spec = importlib.util.find_spec("sglang")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        root = Path(folder)
        if (root / "srt" / "models").is_dir():
            return SglangTree(root, _version(root))
    raise MissingDependencyError(
        "sglang is not installed",
        next_step="give --sglang-path DIR: a checkout or an unpacked wheel of SGLang",
    )


def _version(root: Path) -> str:
    """From _version.py, else the wheel's metadata, else the checkout's pyproject; or "unknown"."""
    for path, pattern in (
        (root / "_version.py", _VERSION),
        (root / "version.py", re.compile(r"^__version__\s*=\s*['\"]([^'\"]+)['\"]", re.MULTILINE)),
        (root.parent / "pyproject.toml", _PROJECT),
    ):
        if path.is_file():
            found = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
            if found:
                return found.group(1)
    for folder in sorted(root.parent.glob("sglang-*.dist-info")):
        return folder.name.removeprefix("sglang-").removesuffix(".dist-info")
    return "unknown"
