"""One variant of a solution on one workload: is it right, and how long does it take?"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench.isolation.building import build
from kernelkit.bench.isolation.calling import PACKAGE, BadOutputError, name_outputs
from kernelkit.bench.judge import rules
from kernelkit.dataset.definition import Definition
from kernelkit.ops import family
from kernelkit.ops.base import torch_dtype

if TYPE_CHECKING:
    import torch

SEED = 7
LARGE = 1 << 22  # elements
# Inputs that families draw from a normal distribution, and its deviation; B's is 1/sqrt(K).
NORMAL = {"k_cache": 1.0, "v_cache": 1.0, "ckv_cache": 1.0, "kpe_cache": 1.0, "state": 0.1,
          "hidden_states": 1.0, "residual": 1.0, "A": 1.0, "B": 1.0}  # fmt: skip
WIDE = ("float16", "bfloat16", "float32")  # what can be drawn; quantized ones are made with scales
Run = Callable[..., Any]


def complete(definition: Definition, axes: dict[str, int]) -> dict[str, int]:
    """The axes, with those that follow: len_indptr from batch_size, pages for all entries."""
    batch, entries = axes.get("batch_size"), axes.get("num_kv_indices")
    derived = {
        "len_indptr": None if batch is None else batch + 1,
        "num_pages": None if entries is None else entries + 1,
    }
    more = {n: v for n, v in derived.items() if v is not None and n in definition.var_axes}
    return {**more, **axes}


def load(folder: Path, spec: dict[str, Any]) -> Run:
    """The run() of unpacked sources; none of another solution's modules stand in for its own."""
    return load_both(folder, spec)[0]


def load_both(folder: Path, spec: dict[str, Any]) -> tuple[Run, Run | None]:
    """run() and, where there is one, setup()."""
    for name in [name for name in sys.modules if name.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]
    return build(folder, spec)


def inputs_of(
    definition: Definition, axes: dict[str, int], device: str, given: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Inputs made by the family; on a GPU large normal ones are drawn there, in a moment.

    Raises UsageError for axes that contradict each other.
    """
    op, given = family(definition.op_type), dict(given or {})
    if device != "cpu":
        given = {**drawn_there(definition, axes, device), **given}
    return op.make_inputs(definition, axes, seed=SEED, device=device, given=given)


def drawn_there(definition: Definition, axes: dict[str, int], device: str) -> dict[str, Any]:
    """Large tensors that the family would draw from a normal distribution on the CPU, by name."""
    import torch

    generator = torch.Generator(device).manual_seed(SEED)
    drawn = {}
    for name in set(NORMAL) & set(definition.inputs):
        shape = definition.shape_of(name, dict(axes))
        dtype = definition.inputs[name].dtype.value
        if shape is not None and math.prod(shape) >= LARGE and dtype in WIDE:
            scale = definition.const_axes["K"] ** -0.5 if name == "B" else NORMAL[name]
            values = torch.empty(shape, dtype=torch_dtype(dtype), device=device)
            drawn[name] = values.normal_(std=scale, generator=generator)
    return drawn


def expected(definition: Definition, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What the reference gives."""
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    return name_outputs(scope["run"](*inputs.values()), list(definition.outputs))


def fault(
    definition: Definition, run: Run, inputs: dict[str, Any], want: dict[str, torch.Tensor]
) -> str:
    """What is wrong with a call's outputs, by the evaluator's rules; empty where nothing is."""
    try:
        got = name_outputs(run(*inputs.values()), list(definition.outputs))
    except BadOutputError as error:
        return str(error)
    tolerance = family(definition.op_type).tolerance(definition)
    verdict = rules.judge(definition, got, want, inputs, tolerance)
    return "" if verdict.status.value == "PASSED" else f"{verdict.status.value} {verdict.message}"
