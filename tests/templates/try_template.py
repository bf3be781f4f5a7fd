"""Run one template, as it lies, on cases of its definition, and print a verdict for each as JSON.

    python tests/templates/try_template.py NAME --device cuda --cases '[{"lengths": [3, 0, 17]}]'

A process of its own: Triton's interpreter is chosen by the environment at import, and a fault on a
GPU ends whatever else runs in the process. A case has `axes`, or `lengths` (cached tokens of each
request) for paged definitions; `given` sets inputs, None included. Each is run twice, with inputs
that must stay as they are.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import torch
from served import definitions

from kernelkit.bench.isolation.building import Functions, build
from kernelkit.bench.isolation.calling import describe, name_outputs
from kernelkit.bench.judge import rules
from kernelkit.dataset.definition import Definition
from kernelkit.ops import family
from kernelkit.solutions.templates import FOLDER, Template

TIMED_CALLS = 20
FLUSH_BYTES = 256 << 20  # more than any L2 cache


def unpack(template: Template, folder: Path) -> None:
    """Write the sources of the solution."""
    for source in template.document()["sources"]:
        path = folder / source["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source["content"], encoding="utf-8")


def inputs_of(definition: Definition, case: dict[str, Any], device: str) -> dict[str, Any]:
    """The family's inputs for a case."""
    axes, given = dict(case.get("axes", {})), dict(case.get("given", {}))
    if lengths := case.get("lengths"):
        size = definition.const_axes["page_size"]
        counts = [-(-length // size) for length in lengths]
        used = sum(counts)
        pages = used + 7
        order = torch.randperm(pages, generator=torch.Generator().manual_seed(used))
        given["kv_indptr"] = torch.tensor([0, *counts]).cumsum(0).to(torch.int32)
        given["kv_indices"] = order[:used].to(torch.int32)
        if "kv_last_page_len" in definition.inputs:
            last = [n - (count - 1) * size if n else 0
                    for n, count in zip(lengths, counts, strict=True)]  # fmt: skip
            given["kv_last_page_len"] = torch.tensor(last, dtype=torch.int32)
        axes |= {
            "batch_size": len(lengths), "len_indptr": len(lengths) + 1,
            "num_kv_indices": used, "num_pages": pages,
        }  # fmt: skip
    op = family(definition.op_type)
    return op.make_inputs(definition, axes, seed=5, device=device, given=given)


def judge(definition: Definition, functions: Functions, inputs: dict[str, Any]) -> dict[str, Any]:
    """The verdict of two calls; the first after setup, if there is one, the second as it is."""
    run, setup = functions
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    want = name_outputs(scope["run"](*inputs.values()), list(definition.outputs))
    before = {n: v.clone() for n, v in inputs.items() if isinstance(v, torch.Tensor)}
    if setup is not None:
        setup(**{name: inputs[name] for name in inspect.signature(setup).parameters})
    for call in ("first", "second"):
        got = name_outputs(run(*inputs.values()), list(definition.outputs))
        tolerance = family(definition.op_type).tolerance(definition)
        verdict = rules.judge(definition, got, want, inputs, tolerance)
        if verdict.status.value != "PASSED":
            return {"status": verdict.status.value, "message": f"{call} call: {verdict.message}"}
    written = [n for n, v in before.items() if not torch.equal(v, inputs[n])]
    if written:
        return {"status": "WRITTEN", "message": f"inputs were written: {', '.join(written)}"}
    return {"status": "PASSED", "max_abs": verdict.max_abs}


def speed(definition: Definition, functions: Functions, inputs: dict[str, Any]) -> dict[str, float]:
    """Median milliseconds of a call with a cold L2 cache, and the bytes that it moves a second."""
    flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda")
    samples = []
    for _ in range(TIMED_CALLS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.zero_()
        torch.cuda._sleep(2_000_000)  # the device waits, so that the host's work is not timed
        start.record()
        functions[0](*inputs.values())
        end.record()
        torch.cuda.synchronize()
        samples.append(start.elapsed_time(end))
    median_ms = sorted(samples)[len(samples) // 2]
    cost = family(definition.op_type).cost(definition, axes_of(definition, inputs), inputs)
    return {"median_ms": median_ms, "gb_per_s": cost.bytes_moved / median_ms * 1e-6}


def axes_of(definition: Definition, inputs: dict[str, Any]) -> dict[str, int]:
    """The variable axes, read off the shapes of the inputs."""
    axes: dict[str, int] = {}
    for name, spec in definition.inputs.items():
        if spec.shape is not None and inputs[name] is not None:
            axes |= dict(zip(spec.shape, inputs[name].shape, strict=True))
    return {name: size for name, size in axes.items() if name in definition.var_axes}


def attempt(template: Template, case: dict[str, Any], functions: Functions, device: str) -> Any:
    """The verdict on one case, and on a GPU its speed."""
    definition = definitions()[template.metadata["definition"]]
    inputs = inputs_of(definition, case, device)
    found = judge(definition, functions, inputs)
    if device == "cuda" and found["status"] == "PASSED":  # not of another than the current one
        found |= speed(definition, functions, inputs)
    return found


def prepare(template: Template, folder: Path, device: str) -> Functions:
    """Unpack and load the template."""
    if device == "cpu" and not hasattr(torch.cpu, "device"):
        torch.cpu.device = lambda _: contextlib.nullcontext()  # flash-linear-attention asks for it
    unpack(template, folder)
    return build(folder, template.metadata["spec"])


def main(argv: list[str] | None = None) -> int:
    """Print a line for each case; 1 where one did not pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", type=json.loads, required=True)
    args = parser.parse_args(argv)
    template = Template.read(FOLDER / f"{args.name}.json")
    statuses = []
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "code"
        functions: Functions | None = None
        for case in args.cases:
            try:
                functions = functions or prepare(template, code, args.device)
                found = attempt(template, case, functions, args.device)
            except Exception as error:
                status = "RUNTIME_ERROR" if functions else "COMPILE_ERROR"
                found = {"status": status, "message": describe(error, str(code))}
            statuses.append(found["status"])
            print(json.dumps({"case": case, **found}), flush=True)
    return int(set(statuses) != {"PASSED"})


if __name__ == "__main__":
    sys.exit(main())
