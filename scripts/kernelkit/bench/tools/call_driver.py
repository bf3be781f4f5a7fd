"""One call of a solution in a process of its own, for tools that watch a process from outside.

    python -m kernelkit.bench.tools.call_driver ORDER.json

Inputs are made on the CPU and moved, so that every kernel that a tool sees is the solution's own.
The call of interest stands between the marks of the CUDA profiler. There is no verdict here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelkit import places
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.workload import Workload
from kernelkit.errors import FormatError, KernelkitError

CALLED = "kernelkit: the call is done"


@dataclass(frozen=True)
class Target:
    """What is called: a solution with its sources unpacked in `code`, on one workload.

    given: recorded inputs ({"path", "key"}) and scalars ({"value"}) by name; the rest is made.
    """

    code: str
    spec: dict[str, Any]
    definition: dict[str, Any]
    axes: dict[str, int]
    given: dict[str, Any] = field(default_factory=dict)
    device: str = "cuda:0"
    seed: int = 0
    warmup: int = 2


@dataclass(frozen=True)
class Finished:
    """How a watched process ended."""

    command: list[str]
    code: int
    output: str  # stdout and stderr together, the last characters
    called: bool  # whether the call came back
    timed_out: bool = False


def target_of(
    dataset: Dataset,
    definition: Definition,
    workload: Workload,
    solution: Solution,
    folder: Path,
    device: str = "cuda:0",
) -> Target:
    """Unpack the solution into `folder`/code and name the workload's inputs. Raises FormatError."""
    from kernelkit.bench.session import given_inputs

    code = folder / "code"
    for source in solution.sources:
        path = code / source.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.content, encoding="utf-8")
    return Target(
        code=str(code),
        spec=solution.spec.to_json(),
        definition=definition.to_json(),
        axes=dict(workload.axes),
        given=given_inputs(dataset, workload),
        device=device,
    )


def lightest(definition: Definition, workloads: list[Workload]) -> Workload:
    """The workload that moves the least: tools slow a call down a hundredfold."""
    from kernelkit.bench.limits.cost import work

    if not workloads:
        raise FormatError("the definition has no workload", received=definition.name)
    return min(workloads, key=lambda workload: work(definition, workload.axes).bytes_moved)


def watch(
    tool: list[str], target: Target, folder: Path, timeout: float, **variables: str
) -> Finished:
    """Run the driver under `tool`; its whole process group ends with it, at `timeout` at last."""
    from kernelkit.bench.isolation import sandbox

    order = folder / "order.json"
    order.write_text(json.dumps(asdict(target)), encoding="utf-8")
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {**sandbox.environment(folder), **variables, "PYTHONPATH": places.import_path()}
    command = [*tool, sys.executable, "-m", "kernelkit.bench.tools.call_driver", str(order)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    timed_out = False
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        output = ""
    finally:
        _end_group(process)
    if timed_out:
        output, _ = process.communicate()
    return Finished(command, process.returncode, output[-20_000:], CALLED in output, timed_out)


def _end_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing is left of the group


def main(path: str) -> None:
    """Load the solution and call it. A failure ends the process with a traceback and code 1."""
    target = Target(**json.loads(Path(path).read_text(encoding="utf-8")))
    function, arguments = prepare(target)
    for _ in range(target.warmup):
        function(*arguments)
    _call_marked(function, arguments, target.device.startswith("cuda"))
    print(CALLED, flush=True)


def prepare(target: Target) -> tuple[Callable[..., object], list[Any]]:
    """The solution's function in this process, set up, and its arguments on the device."""
    import torch

    from kernelkit.bench.isolation.building import build
    from kernelkit.ops.base import to_device

    definition = Definition.model_validate(target.definition)
    if target.device.startswith("cuda"):
        torch.cuda.set_device(target.device)
    inputs = _inputs(definition, target)
    function, setup = build(Path(target.code), target.spec)
    arguments = [to_device(value, target.device) for value in inputs.values()]
    if setup is not None:
        _call_setup(setup, dict(zip(inputs, arguments, strict=True)))
    if target.spec["destination_passing_style"]:
        arguments += _outputs(definition, target)
    return function, arguments


def _inputs(definition: Definition, target: Target) -> dict[str, Any]:
    from safetensors.torch import load_file

    from kernelkit import ops

    given = {
        name: source["value"] if "value" in source else load_file(source["path"])[source["key"]]
        for name, source in target.given.items()
    }
    op = ops.family_or_generic(definition.op_type)
    return op.make_inputs(definition, target.axes, target.seed, given=given)


def _outputs(definition: Definition, target: Target) -> list[Any]:
    import torch

    from kernelkit.ops.base import torch_dtype

    return [
        torch.zeros(definition.shape_of(name, target.axes) or (), dtype=torch.float32)
        .to(torch_dtype(spec.dtype.value))
        .to(target.device)
        for name, spec in definition.outputs.items()
    ]


def _call_setup(setup: Any, arguments: dict[str, Any]) -> None:
    import inspect

    setup(**{name: arguments[name] for name in inspect.signature(setup).parameters})


def _call_marked(function: Any, arguments: list[Any], on_cuda: bool) -> None:
    import torch

    if not on_cuda:
        function(*arguments)
        return
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    function(*arguments)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KernelkitError as error:
        sys.exit(f"error: {error}")
