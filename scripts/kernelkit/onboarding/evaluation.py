"""Phase 3: the baselines on the workloads. A pair that has its trace is not run again."""

from __future__ import annotations

from kernelkit import cli
from kernelkit.bench import device, fleet, selection
from kernelkit.bench.settings import Settings
from kernelkit.dataset.trace import Trace
from kernelkit.errors import NothingSelectedError
from kernelkit.inventory.standing import BASELINE_AUTHORS
from kernelkit.onboarding import gpus
from kernelkit.onboarding.definitions_of import defined
from kernelkit.onboarding.run import Result, Run


def evaluate(run: Run, result: Result) -> None:
    """On the GPU, or on the device that --device names; traces go into the dataset."""
    if run.args.skip_workload:
        return
    if run.args.device is None and not gpus.has_gpu():
        result.tell(f"evaluation: not run: {gpus.NONE_HERE}")
        return
    definitions = {d.name: d for d in defined(run)}
    names = [
        s.name for s in (loaded.value for loaded in run.dataset.load_solutions())
        if s is not None and s.author in BASELINE_AUTHORS and s.definition in definitions
    ]  # fmt: skip
    devices = device.choose(run.args.device)
    try:
        plan = selection.plan(run.dataset, selection.Filters(
            list(definitions), None, names, None, True, devices[0]))  # fmt: skip
    except NothingSelectedError as error:
        result.tell(f"evaluation: {error}")
        return
    result.tell(f"evaluation: {plan.pairs} to run on {', '.join(devices)}, {plan.resumed} before")
    found = fleet.run(run.dataset, plan, Settings(), devices, run.dataset)
    for item in cli.progress(found, what="evaluating", total=plan.pairs):
        if not isinstance(item, Trace):
            result.fail(item)
        elif item.evaluation is not None and item.evaluation.status.value != "PASSED":
            result.fail(f"{item.solution} on {item.workload.uuid}: {item.evaluation.status.value}")
    for text in plan.refused:
        result.fail(text)
