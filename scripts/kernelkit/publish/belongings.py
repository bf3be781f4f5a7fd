"""Which files are one definition's, as the dataset has them staged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, load_jsonl
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import SafetensorsInput
from kernelkit.errors import FormatError
from kernelkit.inventory.standing import BASELINE_AUTHORS
from kernelkit.places import command
from kernelkit.publish.workspace import Source


@dataclass(frozen=True)
class Staged:
    """A definition with its files: the path in the repository, and where the content is."""

    root: Path  # of the dataset
    definition: Definition
    files: dict[str, Source]
    solutions: tuple[Solution, ...]  # the baselines, which are published
    left_out: tuple[str, ...] = field(default=())  # solutions of others, which are not


def scope(definition: Definition) -> list[str]:
    """Every place where a file of the definition may stand; `*` is any one folder."""
    op_type, name = definition.op_type, definition.name
    return [
        f"definitions/{op_type}/{name}.json",
        f"tests/references/test_{name}.py",
        f"workloads/{op_type}/{name}.jsonl",
        f"blob/workloads/{op_type}/{name}",
        f"traces/{op_type}/{name}.jsonl",
        f"solutions/*/{op_type}/{name}",
    ]


def neighbourhood(definition: Definition) -> list[str]:
    """What a validation of the definition reads, as git's pathspecs: names are unique among all
    definitions and all solutions; of the rest only its own files matter."""
    own = [place for place in scope(definition) if "*" not in place]
    return [":(glob)**/.gitattributes", "definitions", "solutions", *own]


def stage(dataset: Dataset, name: str, published: bytes) -> Staged:
    """The files of a definition. `published` is the trace file of the base.

    Definition, reference test, workloads, the recorded tensors that these name, baseline
    solutions, and the traces of those. Raises FormatError for a line that cannot be read.
    """
    definition = dataset.find_definition(name)
    all_solutions = dataset.solutions_of(definition)
    solutions = tuple(s for s in all_solutions if s.author in BASELINE_AUTHORS)
    plain = [
        dataset.definition_path(definition),
        dataset.root / "tests" / "references" / f"test_{name}.py",
        dataset.workload_path(definition),
        *(dataset.solution_path(solution, definition) for solution in solutions),
    ]
    files: dict[str, Source] = {dataset.relative(p): p for p in plain if p.is_file()}
    for path in _blobs(dataset, definition):
        files[path] = dataset.root / path
    traces = _traces(dataset, definition, {s.name for s in solutions}, published)
    if traces:
        files[dataset.relative(dataset.trace_path(definition))] = traces
    others = tuple(s.name for s in all_solutions if s.author not in BASELINE_AUTHORS)
    return Staged(dataset.root, definition, files, solutions, others)


def _blobs(dataset: Dataset, definition: Definition) -> Iterator[str]:
    """The recorded tensors that the workloads name and that are there.

    A path outside blob/ and one that is absent are the validator's to report.
    """
    for line in dataset.workloads_of(definition):
        for source in line.workload.inputs.values():
            if isinstance(source, SafetensorsInput):
                path = PurePosixPath(source.path)
                if path.parts[:1] == ("blob",) and ".." not in path.parts:
                    if (dataset.root / path).is_file():
                        yield str(path)


def _traces(
    dataset: Dataset, definition: Definition, solutions: set[str], published: bytes
) -> bytes:
    """The trace lines that the base has, and those of the published solutions, as they stand."""
    path = dataset.trace_path(definition)
    if not path.is_file():
        return b""
    held = set(published.splitlines())
    lines = path.read_bytes().split(b"\n")
    kept = []
    for loaded in load_jsonl(Trace, path):
        if loaded.value is None:
            raise FormatError(
                f"{dataset.relative(path)}:{loaded.line}: {loaded.error}",
                next_step=f"{command('validate_dataset.py')} finds them all",
            )
        text = lines[(loaded.line or 1) - 1].rstrip(b"\r")
        if text in held or loaded.value.solution in solutions:
            kept.append(text)
    return b"".join(text + b"\n" for text in kept)
