"""Parsed sources: each file is read and parsed once, and run (abstractly) when first looked at."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from kernelkit import lazily


class SourceFile:
    """One module of the tree: its names once `Files` has run its body."""

    def __init__(
        self, path: Path, name: str, dotted: str, parsed: dict[str, ast.Module] | None = None
    ) -> None:
        self.path = path
        self.name = name  # relative to the folder that holds the package
        self.dotted = dotted
        self.names: dict[str, Any] = {}
        self.ran = False
        self._shared = {} if parsed is None else parsed

    @property
    def parsed(self) -> ast.Module:
        """The syntax tree; an empty one for a file that cannot be read or parsed."""
        if self.dotted not in self._shared:
            try:
                found = lazily.parse(self.path.read_bytes())
            except (OSError, SyntaxError, ValueError):
                found = ast.Module(body=[], type_ignores=[])
            self._shared[self.dotted] = found
        return self._shared[self.dotted]

    @property
    def package(self) -> str:
        """The dotted package that relative imports start from."""
        return self.dotted if self.path.name == "__init__.py" else self.dotted.rpartition(".")[0]


class Files:
    """The files of some packages, by dotted name. `roots`: top-level package -> its folder.

    `parsed` may be shared between several: syntax trees do not change.
    """

    def __init__(self, roots: dict[str, Path], parsed: dict[str, ast.Module] | None = None) -> None:
        self.roots = roots
        self._parsed = {} if parsed is None else parsed
        self._files: dict[str, SourceFile | None] = {}

    def find(self, dotted: str) -> SourceFile | None:
        """The file of a module, or None for one outside the roots or absent."""
        if dotted not in self._files:
            self._files[dotted] = self._locate(dotted)
        return self._files[dotted]

    def holds(self, dotted: str) -> bool:
        """Whether the top-level package is one of the roots."""
        return dotted.split(".")[0] in self.roots

    def _locate(self, dotted: str) -> SourceFile | None:
        top, *rest = dotted.split(".")
        root = self.roots.get(top)
        if root is None:
            return None
        stem = root.joinpath(*rest)
        for path in (stem / "__init__.py", stem.with_name(stem.name + ".py")):
            if path.is_file():
                name = path.relative_to(root.parent).as_posix()
                return SourceFile(path, name, dotted, self._parsed)
        if stem.is_dir():  # a namespace package: a module without names
            return SourceFile(stem / "__init__.py", "", dotted) if _empty(stem) else None
        return None


def _empty(folder: Path) -> bool:
    return not (folder / "__init__.py").exists()
