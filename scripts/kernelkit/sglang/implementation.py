"""Put the answer together: `find` from a ModelSpec and a tree of sources."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernelkit import collector
from kernelkit.errors import FormatError
from kernelkit.models.spec import ModelSpec
from kernelkit.sglang import backends, excerpts, facts, kernels, modules, templates
from kernelkit.sglang.document import Excerpt, Implementation, KernelCall, Module
from kernelkit.sglang.entries import Entry, entry_named, entry_of
from kernelkit.sglang.interpret import lookup
from kernelkit.sglang.interpret.machine import Machine
from kernelkit.sglang.interpret.values import ClassRef
from kernelkit.sglang.tree import SglangTree

# A call in the sources is about ten calls here, and chains there are up to forty deep.
RECURSION = 8000

__all__ = ["Excerpt", "Implementation", "KernelCall", "Module", "find", "find_by_name"]


def find(
    spec: ModelSpec,
    tree: SglangTree,
    attention_backend: str = "flashinfer",
    *,
    config: Mapping[str, Any] | None = None,
    capability: tuple[int, int] | None = None,
    flashinfer: Path | None = None,
) -> Implementation:
    """What `tree` does for `spec`. `config` is the raw config.json, which decides more branches.

    `capability` is the GPU's compute capability, e.g. (9, 0); None leaves it open. `flashinfer` is
    the folder of FlashInfer's package, for has_trace_template. Raises NotInSglangError where this
    version has no class for the architecture, UsageError for an unknown attention backend.
    """
    entry = entry_of(spec.architecture, tree)
    with _room():
        found = _implementation(entry, spec, tree, attention_backend, config, capability)
    return _with_templates(found, flashinfer)


def find_by_name(
    name: str,
    tree: SglangTree,
    attention_backend: str = "flashinfer",
    *,
    capability: tuple[int, int] | None = None,
    flashinfer: Path | None = None,
) -> Implementation:
    """As `find`, for a class, file or model name without a config: sizes and counts are open.

    A repeated layer counts once for each class that it can have. Raises as `find`.
    """
    entry, notes = entry_named(name, tree)
    spec = ModelSpec(entry.architecture, "", 0, 0, 0, ())
    with _room():
        found = _implementation(entry, spec, tree, attention_backend, None, capability)
    found.notes = [
        *notes,
        "no config: sizes are open, and repeated layers count once",
        *found.notes,
    ]
    return _with_templates(found, flashinfer)


@contextmanager
def _room() -> Iterator[None]:
    """Deep recursion, and no garbage collection."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, RECURSION))
    try:
        with collector.paused():
            yield
    finally:
        sys.setrecursionlimit(limit)


def _implementation(
    entry: Entry,
    spec: ModelSpec,
    tree: SglangTree,
    attention_backend: str,
    config: Mapping[str, Any] | None,
    capability: tuple[int, int] | None,
) -> Implementation:
    m = facts.machine(tree, attention_backend, capability)
    cls = _entry_class(m, entry, tree)
    serving = backends.effective(m, spec, attention_backend)
    backends.decide_sparse(m, spec)
    built = modules.build(m, cls, spec, config)
    calls = kernels.trace_all(m, built, spec, serving)
    return Implementation(
        sglang_version=tree.version,
        architecture=entry.architecture,
        attention_backend=serving,
        model_file=cls.file.name,
        entry_class=cls.name,
        modules=modules.rows(built),
        kernels=calls,
        excerpts=excerpts.excerpts(m, cls, built, calls),
        notes=_notes(m, tree, spec, attention_backend, serving, built),
    )


def _entry_class(m: Machine, entry: Entry, tree: SglangTree) -> ClassRef:
    file = m.files.find(f"sglang.srt.models.{entry.path.stem}")
    cls = lookup.member_of_file(m, file, entry.architecture) if file else None
    if not isinstance(cls, ClassRef):
        raise FormatError(
            f"{entry.path} lists {entry.architecture} and does not define it as a class",
            next_step="give a complete copy of SGLang's sources with --sglang-path",
        )
    return cls


def _notes(
    m: Machine, tree: SglangTree, spec: ModelSpec, wanted: str, serving: str,
    built: modules.ModelTree,
) -> list[str]:  # fmt: skip
    notes = [f"cut short: not every branch of {name} was followed" for name in sorted(m.unfinished)]
    notes += [f"left out: {name} (not part of the language model)" for name in sorted(m.left)]
    if serving != wanted:
        notes.append(f"attention backend: {serving}, whatever is asked for, because of the indexer")
    else:
        notes += backends.refusals(tree, spec.architecture, serving)
    return notes + (modules.disagreements(built, spec) if spec.layers else [])


def _with_templates(found: Implementation, flashinfer: Path | None) -> Implementation:
    names = {templates.plain(call.fi_api) for call in found.kernels if call.fi_api}
    traced = templates.traced_apis(flashinfer, names) if flashinfer else None
    for call in found.kernels:
        call.has_trace_template = templates.has_template(call.fi_api, traced)
    return found
