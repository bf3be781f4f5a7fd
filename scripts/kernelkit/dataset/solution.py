"""Solution: source files, an entry point, and how to build them."""

from __future__ import annotations

from enum import Enum
from pathlib import PurePosixPath

from pydantic import Field, field_validator, model_validator

from kernelkit.dataset.base import FormatModel, NonEmptyString


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
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise ValueError(f"source path leaves the solution: {path!r}")
        return path


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

    name: NonEmptyString
    definition: NonEmptyString
    author: NonEmptyString
    description: str | None = None
    spec: BuildSpec
    sources: list[SourceFile] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Solution:
        paths = [source.path for source in self.sources]
        if len(set(paths)) != len(paths):
            twice = sorted({path for path in paths if paths.count(path) > 1})
            raise ValueError(f"source paths occur twice: {', '.join(twice)}")
        if self.spec.entry_file not in paths:
            raise ValueError(f"entry file {self.spec.entry_file!r} is not among the sources")
        return self
