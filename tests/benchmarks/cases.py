"""Datasets for the benchmarks of this folder: definitions, workloads with blobs, solutions.

Both evaluators get the same files: index tensors as blobs, scalars as values, the rest random; or
all tensors as blobs, for ops that standard normal values, which are what flashinfer-bench draws,
say nothing of.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KERNELS = Path(__file__).resolve().parent / "kernels"
if str(ROOT / "scripts") not in sys.path:
    sys.path.insert(0, str(ROOT / "scripts"))

from kernelkit.dataset.definition import Definition, TensorSpec  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Trace  # noqa: E402
from kernelkit.dataset.workload import Workload  # noqa: E402
from kernelkit.ops import base, family_or_generic, gemm, gqa_paged, rmsnorm  # noqa: E402
from kernelkit.solutions.constants import set_constants  # noqa: E402


@dataclass(frozen=True)
class Source:
    """A solution: a file of KERNELS, its name, and constants set in it."""

    file: str
    name: str
    passing: bool = True  # destination-passing style
    constants: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A definition with its workloads' axes and its solutions."""

    definition: Definition
    axes: Sequence[dict[str, int]]
    sources: Sequence[Source]
    in_blobs: bool = False  # all tensors, not just those of indices


def copy(columns: int) -> Definition:
    """y = x: what memory can do."""
    rows = base.tensor("n d", "bfloat16")
    return Definition(
        name=f"copy_d{columns}", op_type="copy", axes={"n": base.var(), "d": base.const(columns)},
        inputs={"x": rows}, outputs={"y": rows},
        reference="import torch\n\n\n@torch.no_grad()\ndef run(x):\n    return x.clone()\n",
    )  # fmt: skip


def gemm_bf16(n: int, k: int) -> Definition:
    """The family's GEMM with bfloat16 in the place of float16."""
    made = gemm.FAMILY.definition(n, k)

    def wide(tensors: dict[str, TensorSpec]) -> dict[str, Any]:
        return {name: {**s.to_json(), "dtype": "bfloat16"} for name, s in tensors.items()}

    document = made.to_json()
    document |= {"name": f"gemm_bf16_n{n}_k{k}", "description": "C = A @ B.T in bfloat16."}
    document |= {"inputs": wide(made.inputs), "outputs": wide(made.outputs)}
    return Definition.model_validate(document)


def decode_axes(batch: int, tokens: int) -> dict[str, int]:
    """Axes of a paged decode with one token a page: `tokens` a request on average."""
    total = batch * tokens
    return {"batch_size": batch, "len_indptr": batch + 1, "num_kv_indices": total,
            "num_pages": total + 1}  # fmt: skip


def agreement_cases() -> list[Case]:
    """Kernels of 0.2 to 1 ms on an H200: a launch is under a percent of them."""
    return [
        Case(copy(8192), [{"n": 32768}], [Source("copy_torch.py", "copy")]),
        Case(rmsnorm.FAMILY.definition(8192, 1e-6), [{"batch_size": 32768}],
             [Source("rmsnorm_triton.py", "rmsnorm")]),
        Case(gemm_bf16(8192, 8192), [{"M": 4096}], [Source("gemm_torch.py", "gemm")]),
        Case(gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False), [decode_axes(64, 4096)],
             [Source("decode_flashinfer.py", "decode_flashinfer", passing=False)]),
    ]  # fmt: skip


def throughput_cases() -> list[Case]:
    """4 solutions x 24 workloads: three definitions of eight workloads and four solutions each."""
    return [
        Case(
            rmsnorm.FAMILY.definition(4096, 1e-6),
            [{"batch_size": n} for n in (1, 4, 16, 64, 256, 1024, 4096, 8192)],
            [Source("rmsnorm_torch.py", "rmsnorm_torch"),
             Source("rmsnorm_functional.py", "rmsnorm_functional", passing=False),
             Source("rmsnorm_triton.py", "rmsnorm_triton_w8"),
             Source("rmsnorm_triton.py", "rmsnorm_triton_w4", constants={"NUM_WARPS": 4})],
        ),
        Case(
            gemm.FAMILY.definition(4096, 4096),
            [{"M": m} for m in (1, 8, 32, 128, 512, 1024, 2048, 4096)],
            [Source("gemm_torch.py", "gemm_torch"),
             Source("gemm_linear.py", "gemm_linear", passing=False),
             Source("gemm_triton.py", "gemm_triton_64x128"),
             Source("gemm_triton.py", "gemm_triton_128x128",
                    constants={"BLOCK_M": 128, "NUM_WARPS": 8})],
        ),
        Case(
            gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False),
            [decode_axes(b, n) for b, n in ((1, 512), (1, 4096), (4, 1024), (8, 512), (16, 512),
                                            (16, 1024), (32, 512), (64, 256))],
            [Source("decode_torch.py", "decode_torch", passing=False),
             Source("decode_sdpa.py", "decode_sdpa", passing=False),
             Source("decode_triton.py", "decode_triton_t32"),
             Source("decode_triton.py", "decode_triton_t64", constants={"BLOCK_T": 64})],
        ),
    ]  # fmt: skip


def throughput_sets() -> dict[str, list[Case]]:
    """96 pairs each: the three definitions together, and each alone with 24 workloads."""
    mixed = throughput_cases()
    sizes = {
        "rmsnorm": [{"batch_size": n} for n in _rows(8192)],
        "gemm": [{"M": n} for n in _rows(4096)],
        "gqa_paged": [decode_axes(batch, tokens) for tokens in (128, 512, 1024)
                      for batch in (1, 2, 4, 8, 16, 32, 48, 64)],
    }  # fmt: skip
    alone = {c.definition.op_type: replace(c, axes=sizes[c.definition.op_type]) for c in mixed}
    return {"mixed": mixed, **{name: [case] for name, case in alone.items()}}


def _rows(most: int, count: int = 24) -> list[int]:
    """Different numbers of rows, from one to `most` in even ratios."""
    found: set[int] = set()
    for n in range(count):
        rows = round(most ** (n / (count - 1)))
        while rows in found:
            rows += 1
        found.add(rows)
    return sorted(found)


def write_dataset(root: Path, cases: Sequence[Case], hardware: str = "cuda") -> Dataset:
    """Write the cases as a dataset in `root`."""
    dataset = Dataset.create(root)
    for case in cases:
        dataset.write_definition(case.definition)
        works = [_workload(dataset, case, axes, n) for n, axes in enumerate(case.axes)]
        lines = [Trace(definition=case.definition.name, workload=work) for work in works]
        dataset.write_workloads(case.definition, lines)
        for source in case.sources:
            dataset.write_solution(solution_of(case.definition, source, hardware), case.definition)
    return dataset


def solution_of(definition: Definition, source: Source, hardware: str = "cuda") -> Solution:
    """The Solution document of a source."""
    text = (KERNELS / source.file).read_text(encoding="utf-8")
    return Solution.model_validate({
        "name": source.name, "definition": definition.name, "author": "benchmarks",
        "spec": {
            "language": "triton" if "import triton" in text else "python",
            "target_hardware": [hardware], "entry_point": "main.py::run", "dependencies": [],
            "destination_passing_style": source.passing,
        },
        "sources": [{"path": "main.py", "content": set_constants(text, source.constants)}],
    })  # fmt: skip


def _workload(dataset: Dataset, case: Case, axes: dict[str, int], number: int) -> Workload:
    """One workload: tensors in a blob, scalars by value."""
    from safetensors.torch import save_file

    definition = case.definition
    op = family_or_generic(definition.op_type)
    uuid = f"{definition.name}-{number}"
    if case.in_blobs:
        made = op.make_inputs(definition, axes, number)
        stored = {n: v for n, v in made.items() if definition.inputs[n].shape is not None}
    else:
        stored = op.index_inputs(definition, axes, base.generator(number, "index"))
    inputs: dict[str, dict[str, Any]] = {name: {"type": "random"} for name in definition.inputs}
    for name, spec in definition.inputs.items():
        if spec.shape is None:
            value = op.value_input(definition, name, axes, base.generator(number, name))
            inputs[name] = {"type": "scalar", "value": value}
    if stored:
        path = dataset.blob_folder(definition) / f"{uuid}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: values.contiguous() for name, values in stored.items()}, path)
        for name in stored:
            inputs[name] = {"type": "safetensors", "path": dataset.relative(path),
                            "tensor_key": name}  # fmt: skip
    return Workload.model_validate({"uuid": uuid, "axes": axes, "inputs": inputs})
