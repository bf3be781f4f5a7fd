"""What a dataset holds for a definition: its file, workloads, baseline, traces, reference test."""

from __future__ import annotations

from dataclasses import dataclass

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset, is_lfs_pointer
from kernelkit.inventory.manifest import Evidence

BASELINE_AUTHORS = ("baseline", "flashinfer")


@dataclass(frozen=True)
class Standing:
    """The files of one definition. `workloads` counts lines; None: a Git-LFS pointer."""

    definition_file: str
    workloads: int | None
    baselines: tuple[str, ...]
    traces: int
    reference_test: str | None


def standing(dataset: Dataset, definition: Definition) -> Standing:
    """What the dataset has of `definition`. Reads names and line counts, no contents."""
    test = dataset.root / "tests" / "references" / f"test_{definition.name}.py"
    return Standing(
        definition_file=dataset.relative(dataset.definition_path(definition)),
        workloads=count_workloads(dataset, definition.op_type, definition.name),
        baselines=tuple(_baselines(dataset, definition)),
        traces=_lines(dataset, "traces", definition.op_type, f"{definition.name}.jsonl") or 0,
        reference_test=dataset.relative(test) if test.is_file() else None,
    )


def count_workloads(dataset: Dataset, op_type: str, name: str) -> int | None:
    """Workload lines of a definition by its names; None where the file is a Git-LFS pointer."""
    return _lines(dataset, "workloads", op_type, f"{name}.jsonl")


def evidence(held: Standing) -> list[Evidence]:
    """The standing as the manifest has it."""
    found = [Evidence(about="dataset", text="definition", file=held.definition_file)]
    stem = held.definition_file.removeprefix("definitions/").removesuffix(".json")
    if held.workloads is None:
        text = "workloads are a Git-LFS pointer: run git lfs pull"
        found.append(Evidence(about="dataset", text=text, file=f"workloads/{stem}.jsonl"))
    elif held.workloads:
        text = f"{held.workloads} workloads"
        found.append(Evidence(about="dataset", text=text, file=f"workloads/{stem}.jsonl"))
    found += [Evidence(about="dataset", text="baseline solution", file=f) for f in held.baselines]
    if held.traces:
        text = f"{held.traces} traces"
        found.append(Evidence(about="dataset", text=text, file=f"traces/{stem}.jsonl"))
    if held.reference_test:
        found.append(Evidence(about="dataset", text="reference test", file=held.reference_test))
    return found


def _baselines(dataset: Dataset, definition: Definition) -> list[str]:
    folders = (dataset.root / "solutions" / author for author in BASELINE_AUTHORS)
    files = (f / definition.op_type / definition.name for f in folders)
    return [dataset.relative(p) for f in files for p in sorted(f.glob("*.json"))]


def _lines(dataset: Dataset, *parts: str) -> int | None:
    path = dataset.root.joinpath(*parts)
    if not path.is_file():
        return 0
    if is_lfs_pointer(path):
        return None
    with open(path, "rb") as file:
        return sum(1 for line in file if line.strip())
