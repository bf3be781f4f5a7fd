"""What the document should say of a model: its rows, marks and counts, from config and dataset."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from kernelkit.dataset.store import Dataset
from kernelkit.inventory.inventory import Inventory
from kernelkit.inventory.manifest import Kernel
from kernelkit.inventory.standing import count_workloads
from kernelkit.models.parallelism import Parallelism
from kernelkit.models.spec import ModelSpec
from kernelkit.ops.derivation import DEFAULT_PAGE_SIZES, Request, derive

COLLECTED, DEFINED, MISSING, UNMAPPED = "✅", "🟡", "❌", "—"
MARKS = (COLLECTED, DEFINED, MISSING, UNMAPPED)
FULL, PARTIAL, NOT_COVERED = "✅ Fully covered", "🟡 Partial", "❌ Not covered"
SIZES = (1, 2, 4, 8, 16, 32, 64)  # what a serving configuration may divide by


@dataclass(frozen=True)
class Row:
    """One line of a model's table. `name` is None for a part that no definition stands for."""

    name: str | None
    label: str
    op_cell: str
    mark: str

    @property
    def op_type(self) -> str:
        """The cell's first word: `gqa_paged TP=2` -> gqa_paged."""
        return self.op_cell.split()[0]


@dataclass(frozen=True)
class Holdings:
    """The files of a dataset by definition name, without reading them."""

    dataset: Dataset

    @cached_property
    def op_types(self) -> dict[str, str]:
        """Definition name -> the folder it lies in."""
        return {p.stem: p.parent.name for p in self.dataset.files("definitions", ".json")}

    def mark(self, name: str) -> str:
        """COLLECTED, DEFINED or MISSING. A Git-LFS pointer counts as workloads."""
        if name not in self.op_types:
            return MISSING
        count = count_workloads(self.dataset, self.op_types[name], name)
        return DEFINED if count == 0 else COLLECTED


@dataclass(frozen=True)
class Derivable:
    """Every name that a section's configs can give, over all parallel sizes and the page sizes.

    A heading may stand for several models (`DeepSeek V3 / R1`, a model and its FP8 form).
    """

    specs: tuple[ModelSpec, ...]
    page_sizes: tuple[int, ...] = DEFAULT_PAGE_SIZES

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """Name -> the tp: and ep: tags under which it follows."""
        return self._names(self.specs)

    @cached_property
    def sharded(self) -> dict[str, list[str]]:
        """GEMM names that only one rank of a tensor-parallel group has."""
        found = self._names(self.specs, shard=True)
        return {name: tags for name, tags in found.items() if name not in self.names}

    @cached_property
    def unquantized(self) -> dict[str, list[str]]:
        """Names that would follow if the linear layers were not quantized."""
        quantized = [spec for spec in self.specs if spec.quantization is not None]
        found = self._names([dataclasses.replace(s, quantization=None) for s in quantized])
        return {name: tags for name, tags in found.items() if name not in self.names}

    def _names(self, specs: Iterable[ModelSpec], *, shard: bool = False) -> dict[str, list[str]]:
        parallel = (*(Parallelism(tp=n) for n in SIZES), *(Parallelism(ep=n) for n in SIZES))
        request = Request(parallel=parallel, page_sizes=self.page_sizes, shard_gemm=shard)
        found: dict[str, list[str]] = {}
        for variant in (v for spec in specs for v in derive(spec, request).variants):
            tags = [t for t in variant.definition.tags if t.startswith(("tp:", "ep:"))]
            for name in filter(None, (variant.definition.name, variant.fallback_name)):
                found.setdefault(name, []).extend(tags)
        return found


def page_sizes_in(names: Iterable[str]) -> tuple[int, ...]:
    """The default page sizes and those that the names carry."""
    found = {int(size) for name in names for size in re.findall(r"_ps(\d+)$", name)}
    return tuple(sorted({*DEFAULT_PAGE_SIZES, *found}))


def rows_of(inventory: Inventory, holdings: Holdings) -> list[Row]:
    """The table of a model: one row a definition, then the parts without one."""
    asked = inventory.request.parallel
    rows = [
        Row(k.definition_name, f"`{k.definition_name}`", _op_cell(k, asked),
            holdings.mark(k.definition_name))
        for k in inventory.kernels
    ]  # fmt: skip
    return rows + [Row(None, u.part, u.op_type, UNMAPPED) for u in inventory.unmapped]


def _op_cell(kernel: Kernel, asked: Sequence[Parallelism]) -> str:
    """The op type, with TP or EP where the shape belongs to some of several sizes, or not to 1."""
    for key in ("tp", "ep"):
        sizes = [tag[3:] for tag in kernel.serving or () if tag.startswith(f"{key}:")]
        every = {str(getattr(parallel, key)) for parallel in asked}
        if sizes and (set(sizes) != every or (len(every) == 1 and sizes != ["1"])):
            return f"{kernel.op_type} {key.upper()}={'/'.join(sizes)}"
    return kernel.op_type


def coverage(marks: Collection[str]) -> str:
    """The summary's cell for a table with these marks."""
    if marks and set(marks) == {COLLECTED}:
        return FULL
    return PARTIAL if {COLLECTED, DEFINED} & set(marks) else NOT_COVERED


def tally(marks: Collection[str]) -> tuple[int, int]:
    """(definitions present, definitions referenced); unmapped parts count in neither."""
    present = sum(mark in (COLLECTED, DEFINED) for mark in marks)
    return present, present + sum(mark == MISSING for mark in marks)


def components(spec: ModelSpec) -> list[str]:
    """The words of the summary's architecture cell."""
    found = ["GDN"] if spec.has_mixer("gdn") else []
    if spec.has_mixer("mla"):
        found.append("DSA" if spec.dsa is not None else "MLA")
    if spec.has_mixer("attention", "sliding_attention"):
        found.append("GQA")
    if spec.has_mixer("mamba"):
        found.append("Mamba2")
    mlps = [w for w, kind in (("Dense", "dense"), ("MoE", "moe")) if spec.has_mlp(kind)]
    return found + (["/".join(mlps)] if mlps else [])
