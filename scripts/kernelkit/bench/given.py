"""What a dataset gives to an evaluation: recorded inputs, and the reference as a solution."""

from __future__ import annotations

from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, Language, Solution, SourceFile
from kernelkit.dataset.store import Dataset, is_lfs_pointer
from kernelkit.dataset.workload import SafetensorsInput, ScalarInput, Workload
from kernelkit.errors import FormatError


def reference_solution(definition: Definition) -> Solution:
    """The definition's reference as a solution: the honest control."""
    return Solution(
        name="control",
        definition=definition.name,
        author="kernelkit",
        spec=BuildSpec(
            language=Language.PYTHON, target_hardware=["cpu", "cuda"],
            entry_point="reference.py::run", destination_passing_style=False,
        ),
        sources=[SourceFile(path="reference.py", content=definition.reference)],
    )  # fmt: skip


def given_inputs(dataset: Dataset, workload: Workload) -> dict[str, Any]:
    """The workload's scalars and the places of its recorded tensors. Raises FormatError."""
    found: dict[str, Any] = {}
    for name, source in workload.inputs.items():
        if isinstance(source, ScalarInput):
            found[name] = {"value": source.value}
        elif isinstance(source, SafetensorsInput):
            path = (dataset.root / source.path).resolve()
            if not path.is_relative_to(dataset.root.resolve()):
                raise FormatError("a blob's path leaves the dataset", received=source.path)
            if not path.is_file():
                raise FormatError("a workload's blob is absent", received=source.path)
            if is_lfs_pointer(path):
                raise FormatError(
                    "a blob is a Git-LFS pointer", received=source.path, next_step="git lfs pull"
                )
            found[name] = {"path": str(path), "key": source.tensor_key}
    return found
