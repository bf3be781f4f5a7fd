"""Run a kernel through what a trial shows it, and count what the rules refuse.

A mutant is a definition's own reference with one planted error, given as texts that replace others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from kernelkit.bench.judge import rules
from kernelkit.bench.judge.compare import Tensors, Verdict
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status
from kernelkit.ops import family
from kernelkit.ops.base import generator

torch.set_num_threads(1)  # of small tensors: more threads would wait for each other

Kernel = Callable[..., Any]
SEED = 11
VARIED = 2  # further calls on fresh contents


@dataclass(frozen=True)
class Call:
    """One call of a trial and what it must give."""

    what: str
    inputs: dict[str, Any]
    want: Tensors


def run_of(source: str) -> Kernel:
    """`run` of a program."""
    namespace: dict[str, Any] = {"__name__": "kernel"}
    exec(source, namespace)
    return namespace["run"]


def mutant(definition: Definition, changes: Mapping[str, str]) -> Kernel:
    """The definition's reference with texts replaced; each must be there."""
    source = definition.reference
    for old, new in changes.items():
        assert old in source, f"{definition.name}: no {old!r} to change"
        source = source.replace(old, new)
    return run_of(source)


def outputs(definition: Definition, kernel: Kernel, inputs: dict[str, Any]) -> Tensors:
    """A call's outputs by name, on copies of the inputs."""
    copies = {n: v.clone() if hasattr(v, "clone") else v for n, v in inputs.items()}
    result = kernel(*copies.values())
    result = result if isinstance(result, tuple) else (result,)
    return dict(zip(definition.outputs, result, strict=True))


@functools.cache
def _trial(text: str, sizes: tuple[tuple[str, int], ...]) -> tuple[Call, ...]:
    definition = Definition.model_validate_json(text)
    op, reference = family(definition.op_type), run_of(definition.reference)
    inputs = op.make_inputs(definition, dict(sizes), SEED)
    rng = generator(SEED, "trial")
    calls = [("random", inputs)]
    calls += [(f"varied {i}", op.vary(definition, inputs, rng)) for i in range(VARIED)]
    calls += list(op.probes(definition, inputs, rng))
    return tuple(Call(what, x, outputs(definition, reference, x)) for what, x in calls)


def trial(definition: Definition, axes: Mapping[str, int]) -> tuple[Call, ...]:
    """Random inputs, varied ones and probes, with the reference's outputs; kept for the next."""
    return _trial(definition.to_text(), tuple(axes.items()))


def verdicts(
    definition: Definition, axes: Mapping[str, int], kernel: Kernel
) -> Iterator[tuple[str, Verdict]]:
    """The verdict on each call of a trial, in order."""
    tolerance = rules.tolerance(definition)
    for call in trial(definition, axes):
        got = outputs(definition, kernel, call.inputs)
        yield call.what, rules.judge(definition, got, call.want, call.inputs, tolerance)


def refused(definition: Definition, axes: Mapping[str, int], kernel: Kernel) -> list[str]:
    """What refuses a kernel, with the reasons; stops at the first."""
    for what, verdict in verdicts(definition, axes, kernel):
        if verdict.status is not Status.PASSED:
            return [f"{what}: {verdict.message}"]
    return []


def assert_passes(definition: Definition, axes: Mapping[str, int], kernel: Kernel) -> None:
    """Every call passes."""
    failed = [
        f"{what}: {verdict.message}"
        for what, verdict in verdicts(definition, axes, kernel)
        if verdict.status is not Status.PASSED
    ]
    assert not failed, failed


def half(x: torch.Tensor) -> torch.Tensor:
    """Rounded to float16, in float32."""
    return x.to(torch.float16).to(torch.float32)
