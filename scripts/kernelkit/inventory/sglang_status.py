"""SGLang's side of a definition: whether it calls the FlashInfer API, for this model or at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kernelkit.capture.sglang_pass import routing
from kernelkit.dataset.definition import Definition
from kernelkit.inventory.manifest import Evidence
from kernelkit.inventory.source import Source
from kernelkit.inventory.support import UNTAGGED_API, FlashInferSide

if TYPE_CHECKING:
    from kernelkit.sglang.implementation import Implementation, KernelCall

Status = Literal["sgl_integrated", "sgl_missing", "n/a"]
_SKIPPED = ("test", "tests", "benchmark", "__pycache__")
_PLANS = (".plan", ".begin_forward")
_MOST = 3  # places named as evidence of one status
# sgl-kernel's functions of these names call flashinfer.norm (sgl_kernel/elementwise.py).
THROUGH_SGL_KERNEL = ("rmsnorm", "fused_add_rmsnorm", "gemma_rmsnorm", "gemma_fused_add_rmsnorm")


@dataclass(frozen=True)
class Use:
    """One place where SGLang's sources use a FlashInfer API."""

    file: str
    line: int
    called: bool  # False: imported only
    through: str = "flashinfer"  # the package that it is imported from


@dataclass(frozen=True)
class SglangFinding:
    """What SGLang does about a definition.

    status n/a: FlashInfer has no such API, or the dataset's definition stands for none (GEMM).
    default_path: the call is on the model's own path under default flags; False where another
    kernel of the op type is; None where not known.
    """

    status: Status
    default_path: bool | None
    evidence: list[Evidence]


@dataclass(frozen=True)
class SglangSide:
    """SGLang's sources (`root` is the package folder, which holds srt/), and what they do for one
    model. Without `implementation` only the sources as a whole are looked at."""

    root: Path
    version: str | None = None
    implementation: Implementation | None = None
    note: str | None = None  # why there is no implementation
    _sources: dict[Path, Source] = field(default_factory=dict, repr=False, compare=False)
    _uses: dict[str, list[Use]] = field(default_factory=dict, repr=False, compare=False)

    def status(self, definition: Definition, fi: FlashInferSide) -> SglangFinding:
        """Whether a run of the model would call the definition's FlashInfer API."""
        on_path = self._on_path(definition, fi.api)
        if on_path and routing.has_pages(definition):
            evidence = [self._pages(), *map(_seen, on_path[:_MOST])]
            return SglangFinding("sgl_integrated", False, evidence)
        if on_path:
            return SglangFinding("sgl_integrated", True, [_seen(c) for c in on_path[:_MOST]])
        instead = [_seen(call) for call in self._of_op_type(definition)[:_MOST]]
        path = False if instead else None  # no call of this op type was seen: not known
        if fi.api is None or fi.status == "fi_missing":
            return SglangFinding("n/a", None, instead)
        uses = [_general(use, fi.api, path) for use in self.uses(fi.api)[:_MOST]]
        if uses:
            return SglangFinding("sgl_integrated", path, [*uses, *instead])
        if definition.op_type in UNTAGGED_API:
            return SglangFinding("n/a", None, instead)
        text = f"no call of {fi.api.rpartition('.')[2]} in SGLang {self.version or ''}".rstrip()
        return SglangFinding("sgl_missing", path, [Evidence(about="sglang", text=text), *instead])

    def _pages(self) -> Evidence:
        """Why the API is called and this definition still is not."""
        why = routing.case("page_size", self.version or "")
        assert why is not None
        file, _, line = why.file.rpartition(":")
        return Evidence(about="sglang", text=why.reason, file=file, line=int(line))

    def _on_path(self, definition: Definition, api: str | None) -> list[KernelCall]:
        """The model's own calls of the API; those that only plan it go last."""
        name = (api or "").rpartition(".")[2]
        found = [
            call
            for call in self._of_op_type(definition)
            if name and (call.fi_api or "").removesuffix(".run").rpartition(".")[2] == name
        ]
        return sorted(found, key=lambda call: call.symbol.endswith(_PLANS))

    def _of_op_type(self, definition: Definition) -> list[KernelCall]:
        """The model's calls that may stand for the definition, by op type and width."""
        if self.implementation is None:
            return []
        calls = [c for c in self.implementation.kernels if c.op_type == definition.op_type]
        return [call for call in calls if self._fits(call, definition)]

    def _fits(self, call: KernelCall, definition: Definition) -> bool:
        """Whether one of the calling modules has the definition's width, as far as both tell it:
        a norm over head_dim is not called where the norm over hidden_size is."""
        width = definition.const_axes.get("hidden_size")
        if width is None or definition.op_type != "rmsnorm" or self.implementation is None:
            return True
        modules = [m for m in self.implementation.modules if m.path in call.paths]
        widths = {module.arguments.get("hidden_size") for module in modules}
        return not modules or None in widths or width in widths

    def uses(self, api: str) -> list[Use]:
        """Every place that imports the API, from flashinfer or through sgl-kernel; calls first."""
        if api not in self._uses:
            name = api.rpartition(".")[2]
            files = [file for file, data in self._texts.items() if name.encode() in data]
            found = [use for file in files for use in self._uses_in(file, name)]
            self._uses[api] = sorted(found, key=lambda use: not use.called)
        return self._uses[api]

    @cached_property
    def _texts(self) -> dict[Path, bytes]:
        """The sources that mention flashinfer or sgl_kernel at all."""
        found = {}
        for file in sorted((self.root / "srt").rglob("*.py")):
            if not set(_SKIPPED) & set(file.parts[len(self.root.parts) :]):
                data = file.read_bytes()
                if b"flashinfer" in data or b"sgl_kernel" in data:
                    found[file] = data
        return found

    def _uses_in(self, file: Path, name: str) -> Iterator[Use]:
        if file not in self._sources:
            self._sources[file] = Source(self._texts[file])
        source = self._sources[file]
        packages = ("flashinfer", "sgl_kernel") if name in THROUGH_SGL_KERNEL else ("flashinfer",)
        relative = file.relative_to(self.root.parent).as_posix()
        for one in source.imports(name):
            if one.package in packages:
                call = source.first_call(one.local) or source.first_call(f"_{one.local}")
                yield Use(relative, call or one.line, call is not None, one.package)


def _general(use: Use, api: str, path: bool | None) -> Evidence:
    """A use that was found in the sources, not by following the model's own path."""
    through = "" if use.through == "flashinfer" else f" through {use.through}"
    text = f"{api.rpartition('.')[2]} is {'called' if use.called else 'imported'}{through}"
    if path is False:
        text += ", not on this model's default path"
    return Evidence(about="sglang", text=text, file=use.file, line=use.line)


def _seen(call: KernelCall) -> Evidence:
    when = f", when {shortened(call.condition)}" if call.condition else ""
    text = f"{call.module} calls {call.symbol} ({call.provider}){when}"
    return Evidence(about="sglang", text=text, file=call.file, line=call.line)


def shortened(text: str, most: int = 160) -> str:
    """The text, or its beginning: conditions may fill a page, and the line is named."""
    return text if len(text) <= most else f"{text[: most - 4]} ..."
