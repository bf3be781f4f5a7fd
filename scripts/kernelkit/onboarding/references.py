"""Phase 2: reference tests, written for every definition and run where that is of use."""

from __future__ import annotations

from collections import Counter

from kernelkit import cli
from kernelkit.errors import MissingDependencyError
from kernelkit.inventory.manifest import Kernel
from kernelkit.onboarding import gpus
from kernelkit.onboarding.definitions_of import defined
from kernelkit.onboarding.run import Result, Run, set_entry
from kernelkit.reftests import outcomes
from kernelkit.reftests import session as sessions
from kernelkit.reftests.write import Options

KEY = "reference_test"


def test(run: Run, result: Result) -> None:
    """Write the tests; run those of which no outcome for this definition is recorded (one that was
    skipped is run again on a GPU)."""
    names = [definition.name for definition in defined(run)]
    if not names:
        return
    chosen = sessions.select(run.dataset, sessions.Selection(tuple(names)))
    session = sessions.write_tests(run.dataset, chosen, Options(), dry_run=False)
    for error in session.errors:
        result.fail(error)
    why = _run(run, session) if run.args.run_tests else "--no-run-tests"
    if why:
        result.tell(f"reference tests: not run: {why}")
    _record(run, result, session, why)


def _run(run: Run, session: sessions.Session) -> str:
    """Run what is open; why nothing could be run, or an empty text."""
    from kernelkit.reftests.running import require_packages

    try:
        require_packages()
    except MissingDependencyError as error:
        return str(error)
    held = _held(run)
    digests = {name: outcomes.digest(d) for name, d in session.definitions.items()}
    open_ones = [w for w in session.written if _is_open(held.get(w.name), digests[w.name])]
    if open_ones:
        part = sessions.Session(open_ones, session.definitions)
        sessions.run_tests(run.dataset, part, run.args.timeout,
                           lambda rows: cli.progress(rows, what="reference tests"))  # fmt: skip
    return ""


def _held(run: Run) -> dict[str, outcomes.Record]:
    return outcomes.load(run.dataset.root.joinpath(*outcomes.FILE))


def _is_open(record: outcomes.Record | None, digest: str) -> bool:
    if record is None or record["definition"] != digest:
        return True
    return record["status"] == "skipped" and gpus.has_gpu()


def _record(run: Run, result: Result, session: sessions.Session, why: str) -> None:
    held = _held(run)
    said: dict[str, str] = dict(session.unsupported)
    for written in session.written:
        record = held.get(written.name)
        said[written.name] = record["status"] if record else f"written, not run: {why}"
        if record and record["verified"]:
            said[written.name] = "passed, verified"
        if record and record["status"] == "failed":
            result.fail(f"{written.name}: its reference test failed")

    def change(kernel: Kernel) -> None:
        if kernel.definition_name in said:
            set_entry(kernel, "phase2", KEY, said[kernel.definition_name])

    run.update_kernels(change)
    counts = Counter(text.partition(":")[0] for text in said.values())
    result.tell("reference tests: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
