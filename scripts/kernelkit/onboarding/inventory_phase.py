"""Phase 1: which kernels the model needs, and how far each of them is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from kernelkit import collector
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.inventory import manifest as manifests
from kernelkit.inventory.inventory import Inventory, Sources, counts, take
from kernelkit.inventory.manifest import Manifest
from kernelkit.onboarding.run import Result, Run, mark_of, note_step


def work(run: Run, result: Result) -> None:
    """Take the inventory, unless the manifest has it from the same config, options and sources."""
    mark = _mark(run)
    if run.step_done(1, "inventory", mark):
        result.tell("inventory: done before")
    else:
        found = take_inventory(run)
        if not found.kernels:
            raise NothingSelectedError("no definition follows from this model",
                                       received="; ".join(found.skipped) or None)  # fmt: skip
        if run.dry:
            _tell(result, found.as_manifest())
            return
        config = run.config_file() if run.args.config is not None else run.keep_config()
        run.update(lambda held: _merge(run, held, found, mark, config))
    _tell(result, run.manifest)


def take_inventory(run: Run) -> Inventory:
    """The inventory of the run's model; nothing is written."""
    with collector.paused():
        return take(run.model, run.request, _sources(run))


def _merge(run: Run, held: Manifest, found: Inventory, mark: str, config: Path) -> None:
    taken = found.as_manifest()
    taken.model_slug = run.slug
    held.config = str(config)
    # Where the work began stays: the dataset may hold by now what this run has added.
    began = {k.definition_name: (k.phase1_status, k.workloads) for k in held.kernels}
    manifests.merge(held, taken, refresh=True)
    for kernel in held.kernels:
        if kernel.definition_name in began:
            kernel.phase1_status, kernel.workloads = began[kernel.definition_name]
    note_step(held, 1, "inventory", mark)


def _sources(run: Run) -> Sources:
    from kernelkit.inventory import flashinfer_tree
    from kernelkit.inventory.revisions import revision_of
    from kernelkit.inventory.session import open_sglang

    flashinfer = flashinfer_tree.locate(flashinfer_path(run))
    sglang = open_sglang(sglang_path(run), run.model, "flashinfer")
    folders = {"sglang": sglang and sglang.root, "flashinfer": flashinfer and flashinfer.package,
               "sgl_cookbook": run.cookbook, "flashinfer_trace": run.dataset_folder}  # fmt: skip
    shas = {name: revision_of(f) for name, f in folders.items() if f is not None and f.is_dir()}
    return Sources(run.dataset, flashinfer, sglang, {n: s for n, s in shas.items() if s})


def sglang_path(run: Run) -> Path | None:
    """The folder named, else phase 0's checkout, else (None) the installed one."""
    return run.args.sglang_path or _checkout(run, "sglang")


def flashinfer_path(run: Run) -> Path | None:
    """The folder named; else the installed one (None) where there is one: it is what is called;
    else phase 0's checkout."""
    from kernelkit.inventory import flashinfer_tree

    if run.args.flashinfer_path is not None:
        return run.args.flashinfer_path
    return None if flashinfer_tree.locate(None) is not None else _checkout(run, "flashinfer")


def _checkout(run: Run, name: str) -> Path | None:
    folder = run.args.target_dir / name
    return folder if folder.is_dir() else None


def _mark(run: Run) -> str:
    """Of the config, the options that decide, the places of the sources and their commits."""
    from kernelkit.inventory.revisions import revision_of

    config = json.dumps(run.model.config, sort_keys=True, default=str)
    request, places = run.request, (sglang_path(run), flashinfer_path(run))
    return mark_of(
        hashlib.sha256(config.encode()).hexdigest(),
        [(p.tp, p.ep) for p in request.parallel], request.page_sizes, request.op_types,
        [str(place) for place in places], str(run.dataset_folder.resolve()),
        [revision_of(place) for place in places if place is not None and place.is_dir()],
    )  # fmt: skip


def _tell(result: Result, held: Manifest) -> None:
    found = ", ".join(f"{n} {status}" for status, n in counts(held.kernels).items())
    result.tell(f"{len(held.kernels)} kernels: {found}")
    for part in held.unmapped or []:
        result.tell(f"no definition for {part.part}: {part.reason}")
    for note in held.notes or []:
        result.tell(f"note: {note}")


def kernels_of(run: Run) -> list:
    """The manifest's kernels; in a dry run without a manifest those that phase 1 would find."""
    try:
        return run.kernels()
    except UsageError:
        if not run.dry:
            raise
        return list(take_inventory(run).kernels)
