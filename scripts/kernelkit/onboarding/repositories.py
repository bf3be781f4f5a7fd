"""Phase 0: the repositories that the later phases read, unless the options name folders."""

from __future__ import annotations

from kernelkit.errors import EXIT_FAILED, EXIT_MISSING
from kernelkit.inventory.manifest import Manifest
from kernelkit.onboarding.inventory_phase import flashinfer_path
from kernelkit.onboarding.run import Result, Run
from kernelkit.sources.catalogue import SOURCES, mirrors
from kernelkit.sources.outcome import Outcome, Request

# The manifest's names of the checkouts, as phase 1 writes them.
_NAMES = {
    "sglang": "sglang", "flashinfer": "flashinfer", "sgl-cookbook": "sgl_cookbook",
    "flashinfer-trace": "flashinfer_trace",
}  # fmt: skip


def work(run: Run, result: Result) -> None:
    """Clone or update what no option names; a checkout that cannot be updated is kept as it is."""
    named = _named(run)
    for name, folder in named.items():
        result.tell(f"{name}: {folder}, as named")
    wanted = [source for name, source in SOURCES.items() if name not in named]
    request = Request(run.args.target_dir, mirrors=mirrors(run.args.mirror), dry_run=run.dry,
                      retries=1, depth=1)  # fmt: skip
    if run.dry:
        for source in wanted:
            held = request.path(source).is_dir()
            result.tell(f"{source.name}: would {'update' if held else 'clone'}")
        return
    if wanted:
        _bring(run, result, wanted, request)


def _named(run: Run) -> dict[str, object]:
    args = run.args
    found = {"sglang": args.sglang_path, "flashinfer": args.flashinfer_path,
             "sgl-cookbook": args.cookbook, "flashinfer-trace": args.dataset}  # fmt: skip
    return {name: folder for name, folder in found.items() if folder is not None}


def _bring(run: Run, result: Result, wanted: list, request: Request) -> None:
    from kernelkit.sources.fetch import bring_all
    from kernelkit.sources.watching import Screen

    screen = Screen()
    try:
        outcomes = bring_all(wanted, request, run.args.jobs, screen.watch)
    finally:
        screen.close()
    for source, outcome in zip(wanted, outcomes, strict=True):
        _tell(result, outcome, is_there=(request.path(source) / ".git").exists())
    read = [o for o in outcomes if o.sha and _is_read(run, o.name)]
    shas = {_NAMES[o.name]: o.sha for o in read}

    def change(held: Manifest) -> None:
        if shas:
            held.repo_shas = {**(held.repo_shas or {}), **shas}

    run.update(change)


def _is_read(run: Run, name: str) -> bool:
    """Whether later phases read the checkout: an installed FlashInfer goes before it."""
    return name != "flashinfer" or flashinfer_path(run) is not None


def _tell(result: Result, outcome: Outcome, *, is_there: bool) -> None:
    if not outcome.failed:
        result.tell(f"{outcome.name}: {outcome.action} {(outcome.sha or '')[:12]}".rstrip())
    elif outcome.unreachable and is_there:
        result.tell(f"{outcome.name}: kept as it is, the network cannot be reached")
    else:
        code = EXIT_MISSING if outcome.unreachable or outcome.missing else EXIT_FAILED
        said = f"; next: {outcome.next_step}" if outcome.next_step else ""
        result.fail(f"{outcome.name}: {outcome.error}{said}", code)
