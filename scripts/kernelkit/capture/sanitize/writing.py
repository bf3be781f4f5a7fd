"""Chosen workloads into a dataset: blobs first, then the lines that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernelkit.capture.sanitize.calls import Origin
from kernelkit.capture.sanitize.candidates import (
    Candidate,
    blob_digest,
    observe_again,
    scalar_of,
    stored,
)
from kernelkit.capture.sanitize.payload import Payload, serialised
from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import (
    Provenance,
    RandomInput,
    SafetensorsInput,
    ScalarInput,
    Workload,
)


@dataclass(frozen=True)
class Written:
    """Workloads of one definition: new, there before, and removed with --replace."""

    added: int
    kept: int
    removed: int = 0
    blobs: int = 0
    blob_bytes: int = 0


@dataclass(frozen=True)
class Writer:
    """Writes the workloads of a run; `known` overrides what the dumps say of their origin,
    `otherwise` says what they leave open."""

    dataset: Dataset
    store: str
    strict: bool
    known: Mapping[str, str]
    replace: bool = False
    dry_run: bool = False
    otherwise: Mapping[str, str] = field(default_factory=dict)

    def write(
        self, definition: Definition, chosen: Sequence[Candidate], held: Sequence[Trace]
    ) -> Written:
        """Append what `held` lacks, or with `replace` put all of `chosen` in its place."""
        there = {line.workload.uuid: line for line in held}
        new = [c for c in chosen if c.uuid not in there]
        gone = self._gone(chosen, held)
        if self.dry_run or not (new or gone):
            return Written(len(new), len(chosen) - len(new), len(gone))
        lines, blobs = self._lines(definition, new)
        for path, tensors in blobs.items():
            atomic.write_bytes(self.dataset.root / path, serialised(tensors))
        if self.replace:
            again = [there[c.uuid] for c in chosen if c.uuid in there]
            self.dataset.write_workloads(definition, [*again, *lines])
            self._drop_blobs(definition, gone, [*again, *lines])
        else:
            path = self.dataset.workload_path(definition)
            atomic.append_lines(path, [line.to_line() for line in lines])
        total = sum(len(t.data) for tensors in blobs.values() for t in tensors.values())
        return Written(len(new), len(chosen) - len(new), len(gone), len(blobs), total)

    def _gone(self, chosen: Sequence[Candidate], held: Sequence[Trace]) -> list[Trace]:
        if not self.replace or not chosen:
            return []
        stay = {c.uuid for c in chosen}
        return [line for line in held if line.workload.uuid not in stay]

    def _lines(
        self, definition: Definition, new: Sequence[Candidate]
    ) -> tuple[list[Trace], dict[str, dict[str, Payload]]]:
        """The lines of new workloads, and the tensors of each blob by its path."""
        lines, blobs = [], {}
        for item in new:
            observed = observe_again(item, self.strict)
            tensors = stored(definition, observed, self.store) if item.call else {}
            path = ""
            if tensors:
                folder = self.dataset.relative(self.dataset.blob_folder(definition))
                path = f"{folder}/{definition.name}_{blob_digest(tensors)}.safetensors"
                blobs[path] = tensors
            inputs = _inputs(definition, observed.inputs, tensors, path, derived=not item.call)
            workload = Workload(
                uuid=item.uuid, axes=dict(item.axes), inputs=inputs, provenance=self._of(item)
            )
            lines.append(Trace(definition=definition.name, workload=workload))
        return lines, blobs

    def _of(self, item: Candidate) -> Provenance:
        origin = item.call.origin if item.call else item.origin
        facts = {**self.otherwise, **_facts(origin), **self.known}
        if item.call is None:
            return Provenance(source=item.derived_from, **facts)
        return Provenance(
            source=item.call.origin.source,
            rank=item.call.origin.rank,
            step=item.call.step,
            call=item.call.place,
            assumed=list(item.assumed) or None,
            **facts,
        )

    def _drop_blobs(
        self, definition: Definition, gone: Sequence[Trace], lines: Sequence[Trace]
    ) -> None:
        """Blobs that only the removed lines named. Those that a trace names stay."""
        traces = (t for t in self.dataset.load_traces() if t.value is not None)
        mine = [t.value for t in traces if t.value.definition == definition.name]
        needed = {path for line in (*lines, *mine) for path in _blob_paths(line)}
        folder = self.dataset.blob_folder(definition).resolve()
        for path in {path for line in gone for path in _blob_paths(line)} - needed:
            file = (self.dataset.root / path).resolve()
            if file.parent == folder:
                file.unlink(missing_ok=True)


def _blob_paths(line: Trace) -> set[str]:
    """Paths of a line's blobs as the dataset names them, without a leading `./`."""
    sources = line.workload.inputs.values()
    found = (source.path for source in sources if isinstance(source, SafetensorsInput))
    return {path.removeprefix("./") for path in found}


def _facts(origin: Origin | None) -> dict[str, Any]:
    """What a recording says of itself."""
    names = ("model", "sglang_version", "flashinfer_version", "weights")
    found = {name: getattr(origin, name) for name in names} if origin else {}
    return {name: value for name, value in found.items() if value is not None}


def _inputs(
    definition: Definition,
    values: Mapping[str, Any],
    tensors: Mapping[str, Payload],
    path: str,
    *,
    derived: bool,
) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for name in definition.inputs:
        value = values.get(name)
        if name in tensors:
            inputs[name] = SafetensorsInput(path=path, tensor_key=name)
        elif isinstance(value, (int, float)):
            inputs[name] = ScalarInput(value=scalar_of(value, definition, name))
        elif value is not None or derived:
            inputs[name] = RandomInput()
    return inputs
