"""Definitions that Trace Apply routes, and solutions and measurements of them."""

from __future__ import annotations

from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Evaluation, Trace
from kernelkit.dataset.workload import Workload
from kernelkit.ops import family

NORM = family("rmsnorm").definition(64, 1e-6)
GQA = family("gqa_paged").definition(4, 2, 16, 1, prefill=False)
TOP_K = family("sampling").definition("top_k", 40)
ROUTED = [
    NORM,
    family("rmsnorm").definition(64, 1e-6, fused=True),
    family("rmsnorm").definition(64, 1e-6, gemma=True),
    GQA,
    family("gqa_paged").definition(4, 2, 16, 1, prefill=True),
    family("gqa_ragged").definition(4, 2, 16),
    family("mla_ragged").definition(4, 24, 16),
    family("mla_paged").definition(4, 32, 16, 1, prefill=False),
    *(family("sampling").definition(kind, 40) for kind in ("top_k", "top_p", "top_k_top_p")),
]
DEVICE = "NVIDIA H200"


def solution(definition: Definition, name: str = "own") -> Solution:
    """The reference as a solution of two files, of which one imports the other."""
    main = "from .kernels.plain import run\n\n\ndef start(*args):\n    return run(*args)\n"
    return Solution.model_validate({
        "name": name, "definition": definition.name, "author": "me",
        "spec": {"language": "python", "target_hardware": ["cuda"], "dependencies": ["torch"],
                 "entry_point": "lib/main.py::start", "destination_passing_style": False},
        "sources": [{"path": "lib/main.py", "content": main.replace(".kernels", "..kernels")},
                    {"path": "kernels/plain.py", "content": definition.reference}],
    })  # fmt: skip


def single(definition: Definition, path: str, text: str, **spec: Any) -> Solution:
    """A solution of one file, with parts of its spec changed."""
    document = solution(definition).model_dump(mode="json")
    document["sources"] = [{"path": path, "content": text}]
    document["spec"] |= {"entry_point": f"{path}::run"} | spec
    return Solution.model_validate(document)


def evaluation(status: str, latency_ms: float, log: str, hardware: str) -> Evaluation:
    """A verdict with its times."""
    found: dict[str, Any] = {"status": status, "environment": {"hardware": hardware}, "log": log,
                             "timestamp": "2026-01-01T00:00:00"}  # fmt: skip
    if status == "PASSED":
        found |= {"correctness": {}, "performance": {"latency_ms": latency_ms,
                  "reference_latency_ms": 1.0, "speedup_factor": 1.0 / latency_ms}}  # fmt: skip
    return Evaluation.model_validate(found)


def measured(
    dataset: Dataset, made: Solution, statuses: dict[str, str], latency_ms: float, *,
    log: str = "", hardware: str = DEVICE,
) -> None:  # fmt: skip
    """Write a solution and one trace for each workload, by uuid."""
    definition = dataset.find_definition(made.definition)
    dataset.write_solution(made, definition)
    traces = []
    for uuid, status in statuses.items():
        inputs = {name: {"type": "random"} for name in definition.inputs}
        work = Workload.model_validate({"uuid": uuid, "axes": {"batch_size": 2}, "inputs": inputs})
        found = evaluation(status, latency_ms, log, hardware)
        traces.append(Trace(definition=definition.name, workload=work, solution=made.name,
                            evaluation=found))  # fmt: skip
    dataset.append_traces(definition, traces)
    dataset.write_workloads(definition, [t.model_copy(update={"solution": None, "evaluation": None})
                                         for t in traces])  # fmt: skip
