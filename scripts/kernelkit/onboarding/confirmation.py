"""Phase 2: a SGLang pass, which shows the calls that the model really makes."""

from __future__ import annotations

from typing import Any

from kernelkit import cli
from kernelkit.capture import host as hosts
from kernelkit.capture.sglang_pass import arguments, session
from kernelkit.capture.sglang_pass import report as reports
from kernelkit.capture.sglang_pass.planning import Plan, make_plan
from kernelkit.capture.sglang_pass.running import PassResult
from kernelkit.errors import MissingDependencyError
from kernelkit.inventory.manifest import Kernel, Manifest
from kernelkit.onboarding import gpus
from kernelkit.onboarding.run import Result, Run, mark_of, note_step, set_entry

KEY = "sglang_pass"


def confirm(run: Run, result: Result) -> None:
    """Run the passes of all serving configurations, unless they showed it before. Without a GPU,
    or without SGLang, the definitions stay unconfirmed, and each says why."""
    if not gpus.has_gpu():
        _without(run, result, gpus.NONE_HERE)
        return
    args = pass_arguments(run)
    host = hosts.find_host(run.args.env, run.args.sglang_path)
    try:
        versions = hosts.probe(host)
        hosts.require(versions)
    except MissingDependencyError as error:
        _without(run, result, str(error))
        return
    plan = make_plan(run.model, arguments.options(args, run.model, versions.get("sglang")))
    mark = mark_of(versions, sorted(plan.expected), [item.name for item in plan.passes],
                   run.args.quantization, run.args.sglang_arg)  # fmt: skip
    if not run.step_done(2, "sglang_pass", mark):
        _run(run, result, plan, args, host, mark)
    _tell(run, result)


def pass_arguments(run: Run) -> Any:
    """The options of a pass, as run_sglang_pass.py reads them."""
    parser = cli.parser("a pass")
    arguments.add(parser)
    sizes = run.request.parallel
    words = [
        "--model-name", run.slug, "--tp-list", ",".join(dict.fromkeys(str(p.tp) for p in sizes)),
        "--ep-list", ",".join(dict.fromkeys(str(p.ep) for p in sizes)),
        "--output", str(run.output / "sglang_pass"), "--timeout", str(run.args.timeout),
        "--jobs", str(run.args.jobs), "--quantization", run.args.quantization,
        "--keep-going", "--resume",
        *(f"--sglang-arg={pair}" for pair in run.args.sglang_arg),
    ]  # fmt: skip
    return parser.parse_args(words)


def _run(run: Run, result: Result, plan: Plan, args: Any, host: hosts.Host, mark: str) -> None:
    capture = arguments.capture(args, run.slug)
    about = {"model": run.slug, "emulated": args.emulate}
    results = session.run_all(plan, capture, host, about, arguments.manner(args), cli.say)
    session.write_contexts(plan, capture)
    assert capture.record is not None
    found = reports.read_recordings(capture.record, plan, capture.work / "expected")
    rows = {row.definition: row for row in reports.rows(plan, results, found)}
    failed = [one for one in results if not one.ok]
    for one in failed:
        result.fail(f"SGLang pass {_why(one)}")

    def change(held: Manifest) -> None:
        for kernel in held.kernels:
            if row := rows.get(kernel.definition_name):
                said = f"{row.status}: {row.reason}" if row.reason else row.status
                set_entry(kernel, "phase2", KEY, said)
        if not failed:
            note_step(held, 2, "sglang_pass", mark)

    run.update(change)


def _why(one: PassResult) -> str:
    said = f"{one.name}: {one.status}: {one.detail}"
    return f"{said} (try: {one.hint}; log: {one.log})" if one.hint else f"{said} (log: {one.log})"


def _without(run: Run, result: Result, why: str) -> None:
    result.tell(f"SGLang pass: not run: {why}")

    def change(kernel: Kernel) -> None:
        held = (kernel.phase2 or {}).get(KEY, "not run")
        if held.startswith("not run"):
            set_entry(kernel, "phase2", KEY, f"not run: {why}")

    run.update_kernels(change)


def _tell(run: Run, result: Result) -> None:
    counts: dict[str, int] = {}
    for kernel in run.kernels():
        state = (kernel.phase2 or {}).get(KEY, "not expected").partition(":")[0]
        counts[state] = counts.get(state, 0) + 1
        if state == reports.MISSING:
            result.fail(f"{kernel.definition_name}: no recorded call of the SGLang pass fits it")
    result.tell("SGLang pass: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
