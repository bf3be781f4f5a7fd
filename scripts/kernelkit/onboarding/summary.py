"""What a run ends with: for a program, for the terminal, and as Markdown beside the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kernelkit.inventory.manifest import Kernel, Manifest
from kernelkit.publish.rendering import cell

if TYPE_CHECKING:
    from kernelkit.onboarding.session import Onboarding

NAMES = ("repositories", "inventory", "definitions", "workloads", "publish")
_COLUMNS = ("definition", "dataset", "template", "SGLang pass", "test", "workloads", "published")


def document(found: Onboarding) -> dict[str, Any]:
    """Plain JSON types."""
    held = found.run.manifest
    return {
        "model": held.model_slug,
        "manifest": str(found.run.path),
        "dry_run": found.run.dry,
        "phases": {
            str(n): {
                "status": r.status,
                "told": r.lines,
                "problems": [t for t, _ in r.problems],
                "seconds": r.seconds,
            }
            for n, r in found.results.items()
        },  # fmt: skip
        "kernels": [_row(kernel) | {"skipped": kernel.skipped or {}} for kernel in held.kernels],
    }


def as_text(found: Onboarding) -> str:
    """Phases, the table of kernels, and why each skipped one was."""
    held = found.run.manifest
    count = "" if found.run.dry else f"{len(held.kernels)} kernels, "
    lines = [f"{held.model_slug}: {count}manifest {found.run.path}", ""]
    for number, result in found.results.items():
        lines.append(
            f"phase {number} {NAMES[number]}: {'planned' if found.run.dry else result.status}"
        )
        lines += [f"    {text}" for text in result.lines if found.run.dry]
        lines += [f"    {text}" for text, _ in result.problems]
    if held.kernels and not found.run.dry:
        lines += ["", *_table(held.kernels), "", *_skipped(held.kernels)]
    return "\n".join(lines).rstrip()


def as_markdown(held: Manifest) -> str:
    """From the manifest alone: a run that was killed and went on writes the same."""
    lines = [f"# Onboarding of {held.hf_repo_id or held.model_slug}", ""]
    if held.architecture:
        sizes = "; ".join(f"tp={s.tp} ep={s.ep}" for s in held.serving or [])
        lines += [f"{held.architecture}, {held.num_layers} layers; serving {sizes}.", ""]
    lines += ["## Phases", "", "| Phase | Status | Problems |", "| --- | --- | --- |"]
    for number, state in (held.phases or {}).items():
        said = "; ".join(state.problems or [])
        lines.append(f"| {number} {NAMES[int(number)]} | {state.status} | {cell(said)} |")
    lines += ["", f"## {len(held.kernels)} kernels", "", f"| {' | '.join(_COLUMNS)} |",
              f"| {' | '.join('---' for _ in _COLUMNS)} |"]  # fmt: skip
    lines += [f"| {' | '.join(cell(v) for v in _row(k).values())} |" for k in held.kernels]
    if left := list(_skipped(held.kernels)):
        lines += ["", "## Skipped, and why", "", *(f"- {cell(text)}" for text in left)]
    if urls := list(_urls(held.kernels)):
        lines += ["", "## Filed", "", *(f"- {text}" for text in dict.fromkeys(urls))]
    for part in held.unmapped or []:
        lines += ["", f"No definition stands for {part.part}: {part.reason}"]
    return "\n".join(lines).rstrip() + "\n"


def _row(kernel: Kernel) -> dict[str, str]:
    two, three = kernel.phase2 or {}, kernel.phase3 or {}
    four = kernel.phase4 if isinstance(kernel.phase4, dict) else {}
    count = kernel.workload_entries if kernel.workload_entries is not None else kernel.workloads
    workloads = f"{count or 0} {kernel.phase3_status or ''}".rstrip()
    return dict(zip(_COLUMNS, (
        kernel.definition_name,
        kernel.phase2_status or kernel.phase1_status or "",
        _word(two.get("template")), _word(two.get("sglang_pass")), _word(two.get("reference_test")),
        f"{workloads}, {three['traces']}" if "traces" in three else workloads,
        str(four.get("status", "")),
    ), strict=True))  # fmt: skip


def _word(text: str | None) -> str:
    return (text or "").partition(":")[0]


def _table(kernels: list[Kernel]) -> Iterator[str]:
    rows = [_COLUMNS, *(tuple(_row(kernel).values()) for kernel in kernels)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip()


def _skipped(kernels: list[Kernel]) -> Iterator[str]:
    """Kernels with the same reason in one line."""
    found: dict[tuple[str, str], list[str]] = {}
    for kernel in kernels:
        for phase, why in (kernel.skipped or {}).items():
            found.setdefault((phase, why), []).append(kernel.definition_name)
    for (phase, why), names in sorted(found.items()):
        yield f"phase {phase} ({NAMES[int(phase)]}): {', '.join(names)}: {why}"


def _urls(kernels: list[Kernel]) -> Iterator[str]:
    for kernel in kernels:
        for url in (kernel.fi_issue_url, kernel.fi_trace_template_request_url, kernel.sgl_pr_url):
            if url:
                yield url
        four = kernel.phase4 if isinstance(kernel.phase4, dict) else {}
        for side in ("dataset", "coverage"):
            if url := (four.get(side) or {}).get("pr_url"):
                yield f"{kernel.definition_name}: {url}"
