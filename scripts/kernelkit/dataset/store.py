"""The folder tree of flashinfer-trace, opened on an existing folder or made with `create`.

definitions/{op_type}/{name}.json           solutions/{author}/{op_type}/{definition}/*.json
workloads/{op_type}/{name}.jsonl            blob/workloads/{op_type}/{name}/*.safetensors
traces/{op_type}/{name}.jsonl               tests/references/test_{name}.py
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from kernelkit.dataset import atomic
from kernelkit.dataset.base import FormatModel
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.trace import Trace
from kernelkit.errors import FormatError, UsageError

FOLDERS = ("definitions", "workloads", "solutions", "traces", "blob", "tests")
LFS_MAGIC = b"version https://git-lfs.github.com/spec/v1"
LFS_POINTER = "is a Git-LFS pointer, the object was not pulled; next: git lfs pull"

M = TypeVar("M", bound=FormatModel)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """One document of a file: its value, or why it could not be read. `line` counts from 1."""

    path: Path
    value: M | None
    error: str | None = None
    line: int | None = None


class Dataset:
    """A dataset folder. Reading never raises on a bad file: each `Loaded` carries its error."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, root: Path | str) -> Dataset:
        """Open an existing dataset. Raises UsageError where there is none."""
        root = Path(root).expanduser()
        if not root.is_dir():
            raise UsageError(
                "no such dataset folder",
                received=root,
                next_step="python scripts/clone_repos.py --repos flashinfer-trace, "
                "or a new one: python scripts/derive_definitions.py --dataset DIR --create",
            )
        if not any((root / folder).is_dir() for folder in FOLDERS[:4]):
            raise UsageError(
                "not a dataset folder", received=root, allowed=f"one with {', '.join(FOLDERS[:4])}"
            )
        return cls(root)

    @classmethod
    def create(cls, root: Path | str) -> Dataset:
        """Open a dataset, making the folder and its definitions/ if they are absent."""
        root = Path(root).expanduser()
        if root.exists() and not root.is_dir():
            raise UsageError("the dataset path is a file", received=root)
        (root / "definitions").mkdir(parents=True, exist_ok=True)
        return cls(root)

    @classmethod
    def prepare(cls, root: Path | None, *, create: bool, dry_run: bool) -> Dataset:
        """The dataset that a script writes to; a dry run makes nothing and may have none.

        Raises UsageError where the folder is absent and `create` was not asked for.
        """
        if root is None:
            if dry_run:
                return cls(Path(os.devnull))  # holds nothing: everything is new
            raise UsageError("no dataset given", allowed="--dataset DIR, or --dry-run to look only")
        if create and dry_run and not root.exists():
            return cls(root)
        return cls.create(root) if create and not dry_run else cls.open(root)

    def definition_path(self, definition: Definition) -> Path:
        """Where the definition's file stands."""
        return self._inside("definitions", definition.op_type, f"{definition.name}.json")

    def workload_path(self, definition: Definition) -> Path:
        """Where the definition's workloads stand."""
        return self._inside("workloads", definition.op_type, f"{definition.name}.jsonl")

    def trace_path(self, definition: Definition) -> Path:
        """Where the definition's traces stand."""
        return self._inside("traces", definition.op_type, f"{definition.name}.jsonl")

    def blob_folder(self, definition: Definition) -> Path:
        """Where the definition's recorded tensors stand."""
        return self._inside("blob", "workloads", definition.op_type, definition.name)

    def solution_path(self, solution: Solution, definition: Definition) -> Path:
        """Where the solution's file stands."""
        return self._inside(
            "solutions", solution.author, definition.op_type, definition.name,
            f"{solution.name}.json",
        )  # fmt: skip

    def load_definitions(self) -> Iterator[Loaded[Definition]]:
        """Every definition file, sorted by path."""
        return (load_json(Definition, path) for path in self.files("definitions", ".json"))

    def load_solutions(self) -> Iterator[Loaded[Solution]]:
        """Every solution file, sorted by path."""
        return (load_json(Solution, path) for path in self.files("solutions", ".json"))

    def load_workloads(self) -> Iterator[Loaded[Trace]]:
        """Every line of every workload file."""
        for path in self.files("workloads", ".jsonl"):
            yield from load_jsonl(Trace, path)

    def load_traces(self) -> Iterator[Loaded[Trace]]:
        """Every line of every trace file."""
        for path in self.files("traces", ".jsonl"):
            yield from load_jsonl(Trace, path)

    def definitions(self) -> dict[str, Definition]:
        """The readable definitions by name. Bad files are the validator's to report."""
        found = (loaded.value for loaded in self.load_definitions())
        return {value.name: value for value in found if value is not None}

    def find_definition(self, name: str) -> Definition:
        """The definition of that name. Raises UsageError, FormatError where its file is bad."""
        paths = [path for path in self.files("definitions", ".json") if path.stem == name]
        if not paths:
            raise UsageError(
                "no such definition in the dataset", received=name, allowed=self._some_names()
            )
        loaded = load_json(Definition, paths[0])
        if loaded.value is None:
            raise FormatError(f"{self.relative(paths[0])}: {loaded.error}")
        return loaded.value

    def workloads_of(self, definition: Definition) -> list[Trace]:
        """The definition's workload lines. Raises FormatError on a bad line."""
        return self._lines(self.workload_path(definition))

    def traces_of(self, definition: Definition) -> list[Trace]:
        """The definition's traces. Raises FormatError on a bad line."""
        return self._lines(self.trace_path(definition))

    def solutions_of(self, definition: Definition) -> list[Solution]:
        """The readable solutions of a definition. Reads all; for many, `solutions()` once."""
        return self.solutions().get(definition.name, [])

    def solutions(self) -> dict[str, list[Solution]]:
        """The readable solutions by definition."""
        found: dict[str, list[Solution]] = {}
        for solution in (loaded.value for loaded in self.load_solutions()):
            if solution is not None:
                found.setdefault(solution.definition, []).append(solution)
        return found

    def write_definition(self, definition: Definition) -> bool:
        """Write the file; False where it already holds just that."""
        return atomic.write_text(self.definition_path(definition), definition.to_text())

    def write_solution(self, solution: Solution, definition: Definition) -> bool:
        """Write the file; False where it already holds just that."""
        return atomic.write_text(self.solution_path(solution, definition), solution.to_text())

    def write_workloads(self, definition: Definition, lines: Iterable[Trace]) -> bool:
        """Replace the definition's workload file."""
        text = "".join(line.to_line() + "\n" for line in lines)
        return atomic.write_text(self.workload_path(definition), text)

    def append_traces(self, definition: Definition, traces: Iterable[Trace]) -> None:
        """Append to the definition's trace file."""
        atomic.append_lines(self.trace_path(definition), [trace.to_line() for trace in traces])

    def relative(self, path: Path) -> str:
        """The path as the dataset names it."""
        return path.relative_to(self.root).as_posix()

    def files(self, folder: str, suffix: str) -> list[Path]:
        """All files of a folder with that suffix, sorted."""
        return sorted(p for p in (self.root / folder).rglob(f"*{suffix}") if p.is_file())

    def _inside(self, *parts: str) -> Path:
        """A path under the root. Raises FormatError for a part that is no plain file name."""
        for part in parts:
            if part in ("", ".", "..") or "/" in part or "\\" in part or "\0" in part:
                raise FormatError("not usable as a file name", received=repr(part))
        return self.root.joinpath(*parts)

    def _lines(self, path: Path) -> list[Trace]:
        if not path.is_file():
            return []
        found = []
        for loaded in load_jsonl(Trace, path):
            if loaded.value is None:
                raise FormatError(f"{self.relative(path)}:{loaded.line}: {loaded.error}")
            found.append(loaded.value)
        return found

    def _some_names(self, most: int = 5) -> str:
        stems = [path.stem for path in self.files("definitions", ".json")]
        rest = f" and {len(stems) - most} more" if len(stems) > most else ""
        return (", ".join(stems[:most]) + rest) or "none: the dataset has no definitions"


def load_json(model: type[M], path: Path) -> Loaded[M]:
    """One JSON file as `model`."""
    data, error = _read(path)
    if error is None:
        value, error = _parse(model, data)
        return Loaded(path, value, error)
    return Loaded(path, None, error)


def load_jsonl(model: type[M], path: Path) -> Iterator[Loaded[M]]:
    """Each non-empty line of a JSONL file as `model`."""
    number = 1
    try:
        with open(path, "rb") as file:  # line by line: a trace file may be larger than the memory
            if file.read(len(LFS_MAGIC)) == LFS_MAGIC:
                yield Loaded(path, None, LFS_POINTER, 1)
                return
            file.seek(0)
            for number, line in enumerate(file, start=1):
                if line.strip():
                    value, error = _parse(model, line)
                    yield Loaded(path, value, error, number)
    except OSError as error:
        yield Loaded(path, None, _unreadable(error), number)


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is a Git-LFS pointer: the object itself was never pulled."""
    with open(path, "rb") as file:
        return file.read(len(LFS_MAGIC)) == LFS_MAGIC


def _read(path: Path) -> tuple[bytes, str | None]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return b"", _unreadable(error)
    return (b"", LFS_POINTER) if data.startswith(LFS_MAGIC) else (data, None)


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror or error}"


def _parse(model: type[M], data: bytes) -> tuple[M | None, str | None]:
    try:
        return model.model_validate_json(data), None
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False, include_context=False):
            place = ".".join(str(part) for part in item["loc"])
            problems.append(f"{place}: {item['msg']}" if place else item["msg"])
        return None, "; ".join(problems)
    except ValueError as error:
        return None, str(error)
