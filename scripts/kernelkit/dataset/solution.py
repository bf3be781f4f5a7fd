"""Solution: source files, an entry point, and how to build them.

Stricter than flashinfer-bench 0.1.2 where a file could leave its folder or hide another: see
`path_fault`, `path_clashes` and `name_fault`. Everything that these refuse cannot be unpacked the
same on every system.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from kernelkit.dataset.base import FormatModel, NonEmptyString

MAX_NAME_BYTES = 230  # a file system's 255, less `.json` and the suffix of a temporary file
_FORBIDDEN = '/\\:*?"<>|'
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{s}{n}" for s in ("com", "lpt") for n in range(10)}


def name_fault(name: str) -> str | None:
    """Why `name` cannot be a file name on every system; None where it can."""
    if held := sorted({c for c in name if c in _FORBIDDEN or unicodedata.category(c) == "Cc"}):
        return f"has {' '.join(map(repr, held))}"
    if name != name.strip() or name.endswith(".") or not name:
        return "is empty, or starts or ends with a blank or a dot"
    if name.split(".")[0].lower() in _RESERVED:
        return "is a device's name on Windows"
    if len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    return None


def path_fault(path: str) -> str | None:
    """Why a source path is no plain path inside the solution; None where it is one."""
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        return "leaves the solution"
    if path.endswith("/") or not PurePosixPath(path).parts:
        return "names a folder"
    if "\\" in path or ":" in path:
        return "has a backslash or a colon; parts are joined by /"
    if any(unicodedata.category(character) == "Cc" for character in path):
        return "has a control character"
    if any(len(part.encode("utf-8", "replace")) > 255 for part in PurePosixPath(path).parts):
        return "has a part of more than 255 bytes"
    return None


def path_clashes(paths: Iterable[str]) -> Iterator[str]:
    """Sentences on paths that are one file on some system, or a file and a folder at once."""
    seen: dict[str, str] = {}
    for path in paths:
        if (key := _key(path)) in seen:
            yield f"{path!r} and {seen[key]!r} are one file"
        seen.setdefault(key, path)
    for key, path in seen.items():
        for parent in PurePosixPath(key).parents:
            if (held := seen.get(parent.as_posix())) is not None:
                yield f"{held!r} is a file, and a folder of {path!r}"


def content_fault(content: str) -> str | None:
    """Why a source is no text that a file can hold; None where it is."""
    return "holds a NUL byte: not text" if "\0" in content else None


def _key(path: str) -> str:
    """The form in which two paths of one file are equal, whatever a system makes of case."""
    return unicodedata.normalize("NFC", PurePosixPath(path).as_posix()).casefold()


def _file_name(name: str) -> str:
    if fault := name_fault(name):
        raise ValueError(f"{name!r} cannot be a file name: it {fault}")
    return name


FileName = Annotated[str, Field(min_length=1), AfterValidator(_file_name)]


class Language(str, Enum):
    """The languages of the format."""

    PYTHON = "python"
    TRITON = "triton"
    CPP = "cpp"
    CUDA = "cuda"
    TILELANG = "tilelang"


class Binding(str, Enum):
    """How compiled code is called from Python; None in a spec means tvm-ffi."""

    TVM_FFI = "tvm-ffi"
    TORCH = "torch"


class SourceFile(FormatModel):
    """One file, by its path inside the solution."""

    path: NonEmptyString
    content: NonEmptyString

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        if fault := path_fault(path):
            raise ValueError(f"source path {path!r} {fault}")
        return path

    @field_validator("content")
    @classmethod
    def _text(cls, content: str) -> str:
        if fault := content_fault(content):
            raise ValueError(f"a source file {fault}")
        return content


class BuildSpec(FormatModel):
    """How to build and call the sources."""

    language: Language
    target_hardware: list[str] = Field(min_length=1)
    entry_point: NonEmptyString
    dependencies: list[NonEmptyString] = Field(default_factory=list)
    destination_passing_style: bool = True
    binding: Binding | None = None

    @field_validator("entry_point")
    @classmethod
    def _file_and_function(cls, entry_point: str) -> str:
        if entry_point.count("::") != 1:
            raise ValueError(f"entry_point {entry_point!r} is not 'file::function'")
        return entry_point

    @property
    def entry_file(self) -> str:
        """The file part of the entry point."""
        return self.entry_point.split("::")[0]

    @property
    def entry_symbol(self) -> str:
        """The function part of the entry point."""
        return self.entry_point.split("::")[1]


class Solution(FormatModel):
    """An implementation of a definition."""

    name: FileName
    definition: FileName
    author: FileName
    description: str | None = None
    spec: BuildSpec
    sources: list[SourceFile] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Solution:
        paths = [source.path for source in self.sources]
        if clashes := list(path_clashes(paths)):
            raise ValueError(f"source paths clash: {'; '.join(clashes)}")
        if self.spec.entry_file not in paths:
            raise ValueError(f"entry file {self.spec.entry_file!r} is not among the sources")
        return self
