"""Run the fast kernels on awkward cases, each against its reference; a line of JSON each.

    TRITON_INTERPRET=1 python tests/templates/fast_cases.py
    python tests/templates/fast_cases.py --device cuda --only gqa

A process of its own: Triton's interpreter is chosen by the environment at import. Ends with 1 where
a case did not pass.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import fast_inputs
import torch
from fast_inputs import Case
from fast_inputs_experts import moe_bf16

from kernelkit.bench.judge import rules
from kernelkit.bench.judge.draws import compare_draws
from kernelkit.dataset.definition import Definition
from kernelkit.ops import family
from kernelkit.solutions.scaffold import scaffold
from kernelkit.solutions.templates import choose, load_all
from kernelkit.solutions.tuning.trial import load

CALLS = 2  # a second call shows scratch that the first left behind
GROUP = "fast_kernel"

Run = Callable[..., Any]
DRAWS = {"cpu": 1, "cuda": 640}
# Of the sampler, for the interpreter: three chunks of 128.
SMALL = {"WIDTH": 16, "SLOTS": 16, "MOST_KEPT": 12, "COARSE": 16, "SORTED": 32,
         "CHUNK": 64, "PROPOSALS": 4}  # fmt: skip


def drawn(definition: Definition, run: Run, inputs: dict[str, Any]) -> tuple[str, str]:
    """Draws of every row held against the reference's, by frequency and by what may be drawn."""
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    device = inputs["probs"].device.type
    rows, count = len(inputs["probs"]), DRAWS[device]
    got, want = ([], [])
    if device == "cpu":
        called = inspect.unwrap(run).__globals__
        sizes = (called.get("sample") or called["sample_top_p"]).__globals__
        sizes.update({name: value for name, value in SMALL.items() if name in sizes})
    step = max(1, min(count, 64))
    many = {n: v.repeat(step, *[1] * (v.dim() - 1)) for n, v in inputs.items()}
    for _ in range(-(-count // step)):
        got.append(run(**many).view(step, rows).cpu())
        want.append(scope["run"](**many).view(step, rows).cpu())
    host = {n: v.cpu() for n, v in inputs.items()}
    found = compare_draws(torch.cat(got), torch.cat(want), host)
    return found.status.value, found.message if found.status.value != "PASSED" else ""


NAMES = (
    "gqa",
    "sampling",
    "mla",
    "norms",
    "gemm",
    "gdn",
    "mtp",
    "gdn_prefill",
    "mamba",
    "sparse",
    "prefill",
    "moe",
    "rope",
    "indexer",
)
FAMILIES: dict[str, Callable[[str], Iterator[Case]]] = {
    **{name: getattr(fast_inputs, name) for name in NAMES},
    "moe_bf16": moe_bf16,
}
MANY_PARTS = {"BLOCK_TOKENS": 16, "LEAST_BLOCKS": 1, "PROGRAMS_PER_SM": 16}
# Other parameters than the tuned ones: {} leaves those.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "gqa": [
        {},
        {"MERGE_IN_KERNEL": False, "BLOCK_TOKENS": 32, "LEAST_BLOCKS": 1},
        {**MANY_PARTS, "MERGE_IN_KERNEL": False},
        {**MANY_PARTS, "MERGE_IN_KERNEL": True},
    ],
    "mla": [
        {},
        {"LEAST_BLOCKS": 1, "BLOCK_TOKENS": 16, "CHUNK": 64},
        {"LEAST_BLOCKS": 1, "BLOCK_HEADS": 32},
    ],
    "norms": [{}, {"PROGRAM_ROWS": 2}],
    "gemm": [{}, {"BLOCK_N": 32, "BLOCK_K": 64}],
    "gdn": [{}, {"BLOCK_V": 8}],
    "mtp": [{}, {"BLOCK_V": 8}],
    "gdn_prefill": [{}, {"BLOCK_V": 16}],
    "mamba": [{}, {"BLOCK_DIM": 8}],
    "moe": [{}, {"PROGRAMS_PER_SM": 256}, {"BLOCK_ROWS": 64, "BLOCK_COLUMNS": 128}],
    "moe_bf16": [
        {},
        {"PROGRAMS_PER_SM": 256, "BLOCK_K": 16},
        {"BLOCK_ROWS": 64, "BLOCK_COLUMNS": 128, "BLOCK_K": 64},
    ],
    "indexer": [{}, {"BLOCK": 256}, {"BLOCK": 128, "PROGRAMS_PER_SM": 1}],
    "rope": [{}, {"BLOCK_HEADS": 2}, {"BLOCK_HEADS": 16}],
    "prefill": [
        {},
        {"BLOCK_ROWS": 16, "BLOCK_TOKENS": 16, "ONE_LOOP": 0},
        {"SPECIALIZED": 1, "BLOCK_TOKENS": 64},
        {"SPECIALIZED": 1, "BLOCK_TOKENS": 64, "TMA": 0, "num_stages": 3},
    ],
    "sparse": [
        {},
        {"BLOCK_TOKENS": 16, "PROGRAMS_PER_SM": 64, "CHUNK": 64},
        {"BLOCK_HEADS": 32, "BLOCK_TOKENS": 16, "PROGRAMS_PER_SM": 64},
    ],
}


def function(definition: Definition, root: Path, known: dict[str, Run]) -> Run:
    """The template's run() for a definition; each is built once."""
    if definition.name in known:
        return known[definition.name]
    template, own = choose(load_all(), GROUP, definition)
    folder = root / definition.name
    for path, text in scaffold(definition, template, own=own, author="a", name="n").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    known[definition.name] = load(folder, template.metadata["spec"])
    return known[definition.name]


def named(definition: Definition, result: Any) -> dict[str, Any]:
    """Outputs by name."""
    values = result if isinstance(result, tuple) else (result,)
    return dict(zip(definition.outputs, values, strict=True))


def verdict(definition: Definition, run: Run, inputs: dict[str, Any]) -> tuple[str, str]:
    """Status and message of CALLS calls on the same inputs."""
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    want = named(definition, scope["run"](*inputs.values()))
    tolerance = family(definition.op_type).tolerance(definition)
    before = {n: v.clone() for n, v in inputs.items() if isinstance(v, torch.Tensor)}
    for _ in range(CALLS):
        got = named(definition, run(*inputs.values()))
        found = rules.judge(definition, got, want, inputs, tolerance)
        if found.status.value != "PASSED":
            return found.status.value, found.message
    for name, value in before.items():
        if not torch.equal(value.view(torch.uint8), inputs[name].view(torch.uint8)):
            return "WRITTEN", f"{name} was written"
    return "PASSED", ""


def main(argv: list[str] | None = None) -> int:
    """Print a line for each case; 1 where one did not pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default=",".join(FAMILIES))
    args = parser.parse_args(argv)
    bad, known = 0, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only.split(","):
            variants = VARIANTS.get(name, [{}])
            for number, (label, definition, inputs) in enumerate(FAMILIES[name](args.device)):
                few = [variants[number % len(variants)]] if args.device == "cpu" else variants
                for variant in few:
                    row = attempt(definition, inputs, Path(folder), known, variant)
                    bad += row["status"] != "PASSED"
                    about = {"definition": definition.name, "case": label, "variant": variant}
                    print(json.dumps({**row, **about}), flush=True)
    return int(bad > 0)


def attempt(
    definition: Definition, inputs: dict[str, Any], root: Path, known: dict[str, Run],
    variant: dict[str, Any],
) -> dict[str, str]:  # fmt: skip
    """Status and message of one case with one set of parameters."""
    try:
        run = function(definition, root, known)
        with_parameters(run, variant)
        judge = drawn if definition.op_type == "sampling" else verdict
        status, message = judge(definition, run, inputs)
    except Exception as error:
        status, message = "RUNTIME_ERROR", f"{type(error).__name__}: {error}"[-2000:]
    return {"status": status, "message": message}


def with_parameters(run: Run, variant: dict[str, Any]) -> None:
    """Make the solution's table a single row, or put its own back."""
    module = inspect.unwrap(run).__globals__  # of the function that no_grad wraps
    if "TUNED" in module:
        own = module.setdefault("OWN_TABLE", module["TUNED"])
        module["TUNED"] = [{**row, **variant} for row in own]


if __name__ == "__main__":
    sys.exit(main())
