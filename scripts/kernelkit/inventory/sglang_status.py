"""SGLang's side of a definition: whether it calls the FlashInfer API, for this model or at all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kernelkit.capture.sglang_pass import routing
from kernelkit.dataset.definition import Definition
from kernelkit.inventory.manifest import Evidence
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
    _names: dict[Path, Names] = field(default_factory=dict, repr=False, compare=False)
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
        if file not in self._names:
            self._names[file] = Names.of(self._texts[file])
        names = self._names[file]
        packages = ("flashinfer", "sgl_kernel") if name in THROUGH_SGL_KERNEL else ("flashinfer",)
        relative = file.relative_to(self.root.parent).as_posix()
        for imported, local, line, package in names.imports:
            if imported == name and package in packages:
                call = names.calls.get(local) or names.calls.get(f"_{local}")
                yield Use(relative, call or line, call is not None, package)


@dataclass
class Names:
    """What one source imports, and the first line at which it calls each name."""

    imports: list[tuple[str, str, int, str]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, source: bytes) -> Names:
        """One walk over a file; nothing for a file that does not parse."""
        found = cls()
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return found
        for node in _nodes(tree):
            found._see(node)
        found.imports.sort(key=lambda row: row[2])
        return found

    def _see(self, node: ast.AST) -> None:
        if isinstance(node, ast.ImportFrom):
            package = (node.module or "").partition(".")[0]
            for alias in node.names:
                self.imports.append((alias.name, alias.asname or alias.name, node.lineno, package))
        elif isinstance(node, ast.Attribute) and _root(node) == "flashinfer":
            self.imports.append((node.attr, node.attr, node.lineno, "flashinfer"))
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name:
                self.calls[name] = min(node.lineno, self.calls.get(name, node.lineno))
            self._see_lazy(node)

    def _see_lazy(self, node: ast.Call) -> None:
        """`LazyImport("flashinfer.sampling", "name")` imports as an import statement does."""
        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if len(texts) == 2 and all(isinstance(text, str) for text in texts):
            module, name = texts
            if module.partition(".")[0] == "flashinfer":
                self.imports.append((name, name, node.lineno, "flashinfer"))


def _root(node: ast.AST) -> str:
    """The first name of a dotted expression: `flashinfer` of flashinfer.norm.rmsnorm."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


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


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes, in no order: half the time of `ast.walk`, where a hundred thousand are seen."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        yield node
        for value in vars(node).values():
            if type(value) is list:
                left += [v for v in value if isinstance(v, ast.AST)]
            elif isinstance(value, ast.AST):
                left.append(value)
