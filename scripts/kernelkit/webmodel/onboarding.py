"""All steps from a config to a model's entry: extract, baseline, inventory, entry.

A step that lacks its source (no SGLang, no dataset) is skipped and says so. One that fails does not
stop the others: each needs the config only, and uses of earlier ones what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.dataset import atomic
from kernelkit.errors import KernelkitError, MissingDependencyError, UsageError
from kernelkit.models.extracted import architecture_document, write_extracted
from kernelkit.models.parallelism import Parallelism
from kernelkit.webmodel import steps
from kernelkit.webmodel.summary import summary

if TYPE_CHECKING:
    from kernelkit.models.load import Model
    from kernelkit.sglang.implementation import Implementation
    from kernelkit.sglang.tree import SglangTree
    from kernelkit.webmodel.generate import Wanted

DONE, SKIPPED, FAILED = "done", "skipped", "failed"


@dataclass(frozen=True)
class Step:
    """What became of one step."""

    name: str
    status: str
    note: str = ""
    files: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {"step": self.name, "status": self.status, "note": self.note,
                "files": list(self.files)}  # fmt: skip


class Skip(Exception):
    """The step has nothing to work with; the message says what is absent."""


@dataclass
class Onboarding:
    """One model's run. folder: where its files go; write: False only looks."""

    model: Model
    published: bytes
    source: str
    folder: Path
    write: bool
    results: list[Step] = field(default_factory=list)

    def step(self, name: str, run: Callable[[], tuple[str, list[Path]]]) -> None:
        """Run one step and note what became of it."""
        try:
            note, files = run()
        except Skip as absent:
            self.results.append(Step(name, SKIPPED, str(absent)))
        except KernelkitError as error:
            self.results.append(Step(name, FAILED, str(error)))
        else:
            kept = tuple(str(file) for file in files) if self.write else ()
            self.results.append(Step(name, DONE, note, kept))

    def extract(self) -> tuple[str, list[Path]]:
        """model_config.json and model_architecture.json."""
        spec = self.model.spec
        document = architecture_document(spec, name=self.model.slug, source=self.source)
        note = ", ".join(f"{count} {kind}" for kind, count in spec.counts().items())
        if not self.write:
            return note, []
        return note, write_extracted(self.folder, self.published, document)

    def baseline(self, tree: SglangTree | None, backend: str) -> Implementation | None:
        """sglang_implementation.json; None where SGLang, or the class in it, is absent."""
        found: list[Implementation] = []

        def run() -> tuple[str, list[Path]]:
            from kernelkit.sglang.entries import NotInSglangError
            from kernelkit.sglang.implementation import find

            if tree is None:
                raise Skip("no SGLang sources; name them with --sglang-path")
            try:
                made = find(self.model.spec, tree, backend, config=self.model.config)
            except NotInSglangError as error:
                raise Skip(error.what) from None
            found.append(made)
            note = f"{made.entry_class} in {made.model_file}, SGLang {made.sglang_version}"
            return note, self._file("sglang_implementation.json", made.to_text())

        self.step("baseline", run)
        return found[0] if found else None

    def inventory(
        self, wanted: Wanted, tree: SglangTree | None, implementation: Implementation | None,
        flashinfer: Path | None, manifest: Path,
    ) -> tuple[str, list[Path]]:  # fmt: skip
        """The run manifest: extended where it exists."""
        from kernelkit.inventory import flashinfer_tree
        from kernelkit.inventory import inventory as taking
        from kernelkit.inventory import manifest as manifests
        from kernelkit.inventory.sglang_status import SglangSide
        from kernelkit.ops.derivation import Request

        if wanted.dataset is None:
            raise Skip("no dataset; name it with --dataset")
        sources = taking.Sources(
            dataset=wanted.dataset,
            flashinfer=flashinfer_tree.locate(flashinfer),
            sglang=SglangSide(tree.root, tree.version, implementation) if tree else None,
        )
        sizes = wanted.sizes
        # Sizes that were only looked for are no serving configurations.
        parallel = sizes.parallel if sizes.chosen else (Parallelism(),)
        request = Request(parallel=parallel, page_sizes=sizes.page_sizes)
        taken = taking.take(self.model, request, sources)
        counts = ", ".join(f"{n} {status}" for status, n in taking.counts(taken.kernels).items())
        if self.write:
            found = taken.as_manifest()
            fresh = manifests.fresh(self.model.slug, self.model.repo_id)
            manifests.update(manifest, lambda held: manifests.merge(held, found), otherwise=fresh)
        return f"{len(taken.kernels)} kernels: {counts}", [manifest]

    def entry(
        self, wanted: Wanted, implementation: Implementation | None, output: Path | None
    ) -> dict[str, Any]:
        """The entry in models.ts and model_analysis_{slug}.json; returns both and the text form."""
        document: dict[str, Any] = {}

        def run() -> tuple[str, list[Path]]:
            chosen = replace(wanted, implementation=implementation)
            done = steps.entry_step(self.model, chosen, output, write=self.write)
            report = self.folder / f"model_analysis_{self.model.slug}.json"
            if self.write:
                steps.write_report(report, done.generated)
            document.update(done.document(), summary=summary(done.generated))
            lacking = done.generated.report["missing"]
            note = f"{len(done.generated.modules)} modules, {document['action']}"
            note += f", {len(lacking)} definitions missing" if lacking is not None else ""
            return note, [path for path in (output, report) if path is not None]

        self.step("entry", run)
        return document

    def _file(self, name: str, text: str) -> list[Path]:
        path = self.folder / name
        if self.write:
            try:
                atomic.write_text(path, text)
            except OSError as error:
                raise UsageError(f"cannot write to {path}: {error.strerror}") from None
        return [path]


def find_sglang(path: Path | None) -> SglangTree | None:
    """The sources at `path`, else the installed ones, else none. Raises UsageError for a path
    without SGLang."""
    from kernelkit.sglang.tree import locate

    try:
        return locate(path)
    except MissingDependencyError:
        return None


def as_text(results: list[Step]) -> str:
    """One line a step, its files below."""
    lines = []
    for step in results:
        lines.append(f"{step.status:<8} {step.name:<10} {step.note}".rstrip())
        lines += [f"           {file}" for file in step.files]
    return "\n".join(lines)
