"""Phase 2: issues for FlashInfer, for kernels that it lacks and trace templates that it lacks.

Written as files; filed with --submit, one issue for kernels that differ in numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.errors import KernelkitError
from kernelkit.inventory.manifest import Kernel
from kernelkit.onboarding import describing
from kernelkit.onboarding.definitions_of import defined
from kernelkit.onboarding.run import Result, Run
from kernelkit.publish.github import GitHub
from kernelkit.publish.rendering import render


@dataclass(frozen=True)
class Kind:
    """One kind of request: its template, and the manifest's field for its URL."""

    folder: str
    template: str
    field: str
    title: str
    wanted: Callable[[Kernel], bool]


KINDS = (
    Kind("kernel_requests", "kernel_request.md.j2", "fi_issue_url", "Kernel request: {subject}",
         lambda k: k.fi_status == "fi_missing"),
    Kind("trace_template_requests", "trace_template_request.md.j2",
         "fi_trace_template_request_url", "Trace template for {subject}",
         lambda k: k.fi_status == "fi_supported" and k.fi_trace_template is False),
)  # fmt: skip


def write(run: Run, result: Result) -> None:
    """Write the text of each request, and with --submit file those that are not filed."""
    definitions = {definition.name: definition for definition in defined(run)}
    hub = GitHub(run.args.issue_repo, run.args.issue_repo) if run.args.submit else None
    for kind in KINDS:
        chosen = [k for k in run.kernels() if k.definition_name in definitions and kind.wanted(k)]
        for subject, kernels in groups(chosen).items():
            title = kind.title.format(subject=subject)
            path = run.output / kind.folder / f"{re.sub(r'[^A-Za-z0-9_.]+', '_', subject)}.md"
            atomic.write_text(path, _text(run, kind, kernels, definitions))
            _file(run, result, kind, title, path, kernels, hub)


def groups(kernels: list[Kernel]) -> dict[str, list[Kernel]]:
    """By the API, else by the name without its numbers."""
    found: dict[str, list[Kernel]] = {}
    for kernel in kernels:
        stem = re.sub(r"_(?!fp\d)[a-z]*\d+(?=_|$)", "", kernel.definition_name)
        found.setdefault(kernel.fi_api or stem, []).append(kernel)
    return found


def _text(run: Run, kind: Kind, kernels: list[Kernel], definitions: dict[str, Definition]) -> str:
    held, example = run.manifest, definitions[kernels[0].definition_name]
    return render(
        kind.template, model=held.hf_repo_id or held.model_slug, architecture=held.architecture,
        version=(held.versions or {}).get("flashinfer"), api=kernels[0].fi_api,
        op_type=example.op_type, description=example.description, example=example,
        axes=list(example.const_axes), axis_rows=describing.axis_rows(example),
        shapes=describing.shapes(kernels, definitions), interface=describing.interface(example),
        evidence=describing.evidence(kernels, "flashinfer", "sglang"),
    )  # fmt: skip


def _file(
    run: Run, result: Result, kind: Kind, title: str, path: Path, kernels: list[Kernel],
    hub: GitHub | None,
) -> None:  # fmt: skip
    """File it, unless its URL is known or an issue of this title is there (a killed run's)."""
    known = next((url for k in kernels if (url := getattr(k, kind.field))), None)
    if known is None and hub is not None:
        try:
            hub.require_login()
            known = hub.issue_titled(title) or hub.create_issue(title, path)
        except KernelkitError as error:
            result.fail_with(error, title)
    result.tell(f"{title}: {known or path}")
    if known is None:
        return
    names = {kernel.definition_name for kernel in kernels}

    def change(kernel: Kernel) -> None:
        if kernel.definition_name in names and getattr(kernel, kind.field) != known:
            setattr(kernel, kind.field, known)

    run.update_kernels(change)
