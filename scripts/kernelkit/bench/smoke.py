"""Run each reference once on tiny CPU inputs, in a worker process that may hang or crash.

The worker takes one definition after the other; where one exceeds its time or takes the process
down, the worker is started again for the rest.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kernelkit import places
from kernelkit.dataset.definition import Definition
from kernelkit.errors import MissingDependencyError

if TYPE_CHECKING:
    import torch

    from kernelkit.ops.base import Inputs

Problem = tuple[str, str, str, str]  # code, field, message, fix: as the validator's

SECONDS = 60.0
NOT_RUN = "R16"  # a warning: too large, or no inputs known for it
MOST_BYTES = 2 << 30  # inputs and outputs of one definition
START_SECONDS = 60.0  # importing torch on a busy machine
READY = "ready\n"


class Worker:
    """The process, a line of JSON in, a line of JSON out."""

    def __init__(self) -> None:
        own = {"PYTHONPATH": places.import_path(), "CUDA_VISIBLE_DEVICES": ""}
        environment = {**os.environ, **own}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from kernelkit.bench.smoke import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        if self.answer(START_SECONDS) != READY:
            self.stop()
            raise MissingDependencyError(
                "the process that runs references did not start",
                next_step=f"{sys.executable} -c 'import torch' shows why",
            )

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put("")

    def ask(self, text: str, seconds: float) -> str | None:
        """The answer line; "" where the process died, None where it took too long."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(text) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return ""
        return self.answer(seconds)

    def answer(self, seconds: float) -> str | None:
        """The next line, "" at the end, None after `seconds`."""
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


def smoke(
    definitions: Iterable[Definition], seconds: float = SECONDS
) -> Iterator[tuple[Definition, list[Problem]]]:
    """Each definition with the problems of running its reference once."""
    worker: Worker | None = None
    try:
        for definition in definitions:
            if worker is None:
                worker = Worker()
            answer = worker.ask(definition.to_text(), seconds)
            if answer:
                yield definition, [tuple(problem) for problem in json.loads(answer)]
                continue
            worker.stop()
            worker = None
            text = "the process died" if answer == "" else f"no result after {seconds:.0f} s"
            yield definition, [("R14", "reference", text, "make it run on small CPU inputs")]
    finally:
        if worker is not None:
            worker.stop()


def serve() -> None:
    """The worker: answers on the real stdout; what a reference prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    answers.write(READY)
    answers.flush()
    for line in sys.stdin:
        definition = Definition.model_validate_json(json.loads(line))
        answers.write(json.dumps(run_once(definition)) + "\n")
        answers.flush()


def run_once(definition: Definition) -> list[Problem]:
    """Run a reference in this process on tiny inputs; what is wrong with it."""
    from kernelkit.errors import KernelkitError
    from kernelkit.ops import OP_TYPES, base, family, trial

    known = definition.op_type in OP_TYPES
    try:
        axes = (
            family(definition.op_type).small_axes(definition)
            if known
            else trial.axes_of(definition)
        )
        if base.all_bytes(definition, axes) > MOST_BYTES:
            size = base.all_bytes(definition, axes) / 2**30
            text = f"even tiny inputs take {size:.1f} GiB"
            return [(NOT_RUN, "reference", text, "test it with smaller constants")]
        if known:
            inputs = family(definition.op_type).make_inputs(definition, axes, seed=0)
        else:
            inputs = trial.inputs_of(definition, axes)
    except (KernelkitError, KeyError) as error:
        text = f"no inputs could be made: {error}"
        return [(NOT_RUN, "reference", text, "use the family's axes and names")]
    try:
        return _run(definition, axes, inputs)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} (line {where.lineno})"
        if known:
            return [("R14", "reference", text, "make it run on small CPU inputs")]
        return [(NOT_RUN, "reference", f"unknown op type, and {text}", "run it by hand")]


def _run(definition: Definition, axes: dict[str, int], inputs: Inputs) -> list[Problem]:
    import torch

    before = {n: v.clone() for n, v in inputs.items() if isinstance(v, torch.Tensor)}
    namespace: dict[str, Any] = {"__name__": "reference"}
    exec(compile(definition.reference, f"{definition.name}.reference", "exec"), namespace)
    outputs = namespace["run"](*inputs.values())
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    if len(outputs) != len(definition.outputs):
        text = f"returned {len(outputs)} values, {len(definition.outputs)} outputs"
        return [("R15", "outputs", text, "return one value for each output, in order")]
    problems = [
        problem
        for name, value in zip(definition.outputs, outputs, strict=True)
        if (problem := _output(definition, axes, name, value))
    ]
    for name, value in before.items():
        if not _same(value, inputs[name]):
            problems.append(("R12", "reference", f"changes {name}", f"work on {name}.clone()"))
    return problems


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal shape, type and bits: NaN equals itself, and a 0-dim tensor has bits, too."""
    import torch

    bits = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
    return (one.shape, one.dtype) == (other.shape, other.dtype) and torch.equal(*bits)


def _output(definition: Definition, axes: dict[str, int], name: str, value: Any) -> Problem | None:
    import torch

    spec, place = definition.outputs[name], f"outputs.{name}"
    if not isinstance(value, torch.Tensor):
        return "R15", place, f"is a {type(value).__name__}", "return a tensor"
    want = definition.shape_of(name, axes) or ()
    if tuple(value.shape) != want:
        return "R15", place, f"shape {list(value.shape)}, declared {list(want)}", "correct one"
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype != spec.dtype.value and spec.dtype.value != "float4_e2m1":
        return "R15", place, f"{dtype}, declared {spec.dtype.value}", "correct one"
    # -inf is the LSE of an empty request, and the logit of a token that is ruled out.
    sound = torch.isfinite(value.float())
    if "lse" in name or "masked" in name:
        sound |= value.float() == -torch.inf
    if value.is_floating_point() and not sound.all():
        text = "holds NaN or infinity for finite inputs"
        return "R14", place, text, "mask before you divide or subtract"
    return None
