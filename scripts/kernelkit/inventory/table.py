"""The inventory as a person reads it: a header, one line a kernel, and what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from kernelkit.inventory.inventory import Inventory, counts
from kernelkit.inventory.manifest import Kernel

_FI = {"fi_supported": "supported", "fi_missing": "MISSING", None: "?"}
_SGL = {"sgl_integrated": "calls it", "sgl_missing": "NO CALL", "n/a": "n/a", None: "?"}


def as_text(inventory: Inventory) -> str:
    """Header, table, parts without a definition, and the next steps with their counts."""
    lines = [*_header(inventory), "", *_table(inventory.kernels)]
    if inventory.unmapped:
        lines += ["", "no definition stands for:"]
        lines += [f"  {part.part}: {part.reason}" for part in inventory.unmapped]
    return "\n".join([*lines, "", *_next_steps(inventory.kernels)])


def _header(inventory: Inventory) -> Iterator[str]:
    spec, request = inventory.model.spec, inventory.request
    kinds = ", ".join(f"{count} {kind}" for kind, count in spec.counts().items())
    yield f"{inventory.model.slug}: {spec.architecture}, {spec.num_layers} layers ({kinds})"
    serving = "; ".join(f"tp={p.tp} ep={p.ep}" for p in request.parallel)
    yield f"serving: {serving}; page sizes {', '.join(map(str, request.page_sizes))}"
    flashinfer, sglang = inventory.sources.flashinfer, inventory.sources.sglang
    known = [f"FlashInfer {flashinfer.version}" if flashinfer else "FlashInfer not looked at"]
    known.append(f"SGLang {sglang.version}" if sglang else "SGLang not looked at")
    root = inventory.sources.dataset.root
    held = "no dataset" if str(root) == os.devnull else str(root)
    yield f"held against: {held}, {', '.join(known)}"


def _table(kernels: Sequence[Kernel]) -> Iterator[str]:
    rows = [("op type", "definition", "dataset", "FlashInfer", "SGLang", "at"), *map(_row, kernels)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(kernel: Kernel) -> tuple[str, ...]:
    held = kernel.phase1_status or "?"
    if kernel.differences:
        held = "DIFFERS"
    elif kernel.workloads:
        held += f", {kernel.workloads} workloads"
    flashinfer = _FI[kernel.fi_status]
    if kernel.fi_status == "fi_supported":
        flashinfer += ", template" if kernel.fi_trace_template else ", no template"
    sglang = _SGL[kernel.sgl_status]
    if kernel.sgl_default_path is False and kernel.sgl_status == "sgl_integrated":
        sglang = "elsewhere"
    return kernel.op_type, kernel.definition_name, held, flashinfer, sglang, _place(kernel)


def _place(kernel: Kernel) -> str:
    """Where SGLang calls it, else where FlashInfer defines it."""
    for about in ("sglang", "flashinfer"):
        for item in kernel.evidence or ():
            if item.about == about and item.file:
                return f"{item.file}:{item.line}"
    return ""


def _next_steps(kernels: Sequence[Kernel]) -> Iterator[str]:
    found = counts(kernels)
    yield f"{len(kernels)} kernels: {found.get('existing', 0)} existing, {found.get('new', 0)} new"
    differing = sum(bool(kernel.differences) for kernel in kernels)
    for count, text in (
        (differing, "differ from the dataset's definition of that name: compare before anything"),
        (found.get("new", 0), "are new: python scripts/derive_definitions.py writes them"),
        (_ready(kernels, True), "can be recorded now: SGLang calls them on this model's path"),
        (_ready(kernels, False), "are called by SGLang otherwise: flags, other weights or pages"),
        (_ready(kernels, None), "are called by SGLang somewhere; this model's path is not known"),
        (found.get("sgl_missing", 0), "exist in FlashInfer, but SGLang does not call them"),
        (_without_template(kernels), "exist in FlashInfer without a trace template"),
        (found.get("fi_missing", 0), "are missing in FlashInfer: a kernel request"),
    ):
        if count:
            yield f"  {count:>3} {text}"


def _ready(kernels: Sequence[Kernel], path: bool | None) -> int:
    """Kernels without workloads that SGLang calls, by whether that is on the model's own path."""
    called = [k for k in kernels if k.sgl_status == "sgl_integrated" and not k.workloads]
    return sum(kernel.sgl_default_path is path for kernel in called)


def _without_template(kernels: Sequence[Kernel]) -> int:
    return sum(k.fi_status == "fi_supported" and not k.fi_trace_template for k in kernels)
