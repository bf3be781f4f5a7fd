"""Put collected workloads into a dataset: blobs first, then the lines that name them."""

from __future__ import annotations

from dataclasses import dataclass

from kernelkit.capture.match import Row
from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.errors import FormatError


@dataclass(frozen=True)
class Outcome:
    """Workloads of one definition: newly written, and there already."""

    definition: Definition
    added: int
    kept: int


def write(dataset: Dataset, rows: list[Row], *, dry_run: bool = False) -> list[Outcome]:
    """Append the rows whose uuid the dataset does not hold; existing lines stay as they are.

    A file of workloads is replaced as a whole, so that a kill leaves the old one or the new one.
    Raises FormatError where an existing file cannot be read.
    """
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.definition.name, []).append(row)
    return [_write_one(dataset, group, dry_run=dry_run) for group in grouped.values()]


def _write_one(dataset: Dataset, rows: list[Row], *, dry_run: bool) -> Outcome:
    definition = rows[0].definition
    held = {line.workload.uuid for line in dataset.workloads_of(definition)}
    new = [row for row in rows if row.line.workload.uuid not in held]
    if new and not dry_run:
        for row in new:
            _write_blob(dataset, row)
        path = dataset.workload_path(definition)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        if before and not before.endswith("\n"):
            before += "\n"
        lines = "".join(row.line.to_line() + "\n" for row in new)
        atomic.write_text(path, before + lines)
    return Outcome(definition, len(new), len(rows) - len(new))


def _write_blob(dataset: Dataset, row: Row) -> None:
    if not row.tensors:
        return
    from safetensors.numpy import save

    sources = row.line.workload.inputs
    paths = {sources[name].path for name in row.tensors}
    if len(paths) != 1:
        raise FormatError("a workload's tensors stand in one blob", received=sorted(paths))
    atomic.write_bytes(dataset.root / paths.pop(), save(row.tensors))
