"""Phase 3: workloads, from a served model on a GPU or from recordings that are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernelkit import cli
from kernelkit.capture.collection import arguments, pipeline
from kernelkit.capture.sanitize import outcome as outcomes
from kernelkit.dataset.definition import Definition
from kernelkit.errors import EXIT_FAILED, EXIT_MISSING, KernelkitError, NothingSelectedError
from kernelkit.inventory.manifest import Kernel
from kernelkit.onboarding import gpus
from kernelkit.onboarding.definitions_of import defined
from kernelkit.onboarding.run import Result, Run


def record(run: Run, result: Result) -> dict[str, str]:
    """Collect workloads for the kernels that had none when the work began. Returns for each
    definition why it may have none."""
    wanted = _wanted(run)
    if not wanted:
        result.tell("workloads: every kernel had some before")
        return {}
    if run.args.skip_workload:
        return _all(wanted, "--skip-workload")
    if run.args.dump is None and not gpus.has_gpu():
        result.fail(f"workloads: not recorded: {gpus.NONE_HERE}; next: --dump DIR with recordings, "
                    "or --skip-workload", EXIT_MISSING)  # fmt: skip
        return _all(wanted, gpus.NONE_HERE)
    try:
        return _collect(run, result, wanted)
    except NothingSelectedError as error:
        result.tell(f"workloads: {error}")
        return _all(wanted, str(error))
    except KernelkitError as error:
        result.fail_with(error, "workloads")
        return _all(wanted, str(error))


def require_known(words: Sequence[str]) -> None:
    """End the program with a usage error for what is no option of collect_workloads.py."""
    parser = cli.parser("a collection")
    arguments.add(parser)
    parser.parse_args(["--dataset-dir", ".", *words])


def rehearse(run: Run, result: Result, kernels: list[Kernel]) -> None:
    """What would be recorded."""
    bare = [k.definition_name for k in kernels if not k.workloads]
    result.tell(f"baselines for {len(kernels)} definitions, workloads for {len(bare)} without any")
    if run.args.skip_workload:
        result.tell("nothing is recorded: --skip-workload")
    elif run.args.dump is None and not gpus.has_gpu():
        result.tell(f"nothing would be recorded: {gpus.NONE_HERE}")


def _wanted(run: Run) -> list[Definition]:
    """By what phase 1 saw: the choice must not change while a killed run is gone on with."""
    bare = {k.definition_name for k in run.kernels() if not k.workloads}
    return [definition for definition in defined(run) if definition.name in bare]


def _all(wanted: list[Definition], why: str) -> dict[str, str]:
    return {definition.name: why for definition in wanted} | {"evaluation": why}


def _collect(run: Run, result: Result, wanted: list[Definition]) -> dict[str, str]:
    asked = pipeline.resolve(_arguments(run, wanted), cli.say)
    why: dict[str, str] = {}
    if run.args.dump is not None:
        folder: Path = run.args.dump
    else:
        prepared = pipeline.prepare(asked)
        why |= {name: f"SGLang does not call it: {text}"
                for name, text in prepared.choice.absent.items()}  # fmt: skip
        folder = pipeline.record(asked, prepared)
        for name, text in pipeline.failures(prepared).items():
            result.fail(f"recording {name}: {text}", EXIT_FAILED)
        if not pipeline.has_records(folder):
            return why
    found, _ = pipeline.sanitise(asked, folder)
    for line in outcomes.remarks(found):
        result.tell(f"note: {line}")
    for item in found.definitions:
        if item.error:
            result.fail(f"{item.name}: {item.error}")
            why[item.name] = item.error
    return why


def _arguments(run: Run, wanted: list[Definition]) -> Any:
    """The options of a collection, as collect_workloads.py reads them."""
    parser = cli.parser("a collection")
    arguments.add(parser)
    words = [
        "--dataset-dir", str(run.dataset.root), "--definitions", ",".join(d.name for d in wanted),
        "--model-name", run.slug, "--config", str(run.config_file()), "--resume", "--no-eval",
        "--output", str(run.output / "collect"), "--env", run.args.env,
        "--quantization", run.args.quantization,
        *(f"--sglang-arg={pair}" for pair in run.args.sglang_arg), *run.args.collect_arg,
    ]  # fmt: skip
    if run.args.sglang_path is not None:
        words += ["--sglang-path", str(run.args.sglang_path)]
    return parser.parse_args(words)
