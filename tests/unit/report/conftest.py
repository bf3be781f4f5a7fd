"""A dataset with passes, failures, gaps and a bad file, as a report must show them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import (
    Correctness,
    Environment,
    Evaluation,
    Performance,
    Status,
    Trace,
)
from kernelkit.dataset.workload import RandomInput, Workload
from kernelkit.ops import gemm, rmsnorm

NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
GEMM = gemm.FAMILY.definition(4096, 4096)
IDLE = gemm.FAMILY.definition(64, 64)


def trace(
    solution: str,
    latency: float | None,
    *,
    reference: float = 2.0,
    rows: int = 7,
    when: str = "2026-01-01T00:00:00Z",
    hardware: str = "Test CPU",
    log: str = "",
) -> Trace:
    """A trace of NORM; `latency` None: it failed."""
    correctness = performance = None
    if latency is not None:
        performance = Performance(
            latency_ms=latency, reference_latency_ms=reference, speedup_factor=reference / latency
        )
        timing = {"median_ms": latency, "p20_ms": latency * 0.9, "p80_ms": latency * 1.1}
        correctness = Correctness(max_absolute_error=0.001, extra={"timing": timing})
    inputs = {"hidden_states": RandomInput(), "weight": RandomInput()}
    return Trace(
        definition=NORM.name,
        workload=Workload(uuid=f"u{rows}", axes={"batch_size": rows}, inputs=inputs),
        solution=solution,
        evaluation=Evaluation(
            status=Status.PASSED if latency is not None else Status.RUNTIME_ERROR,
            environment=Environment(hardware=hardware, libs={"torch": "9.9"}),
            timestamp=when,
            log=log,
            correctness=correctness,
            performance=performance,
        ),
    )


def solution(name: str, definition: str) -> Solution:
    """A solution that nobody runs."""
    return Solution.model_validate(
        {
            "name": name,
            "definition": definition,
            "author": "tests",
            "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "m.py::run"},
            "sources": [{"path": "m.py", "content": "def run(): pass\n"}],
        }
    )


@pytest.fixture
def reported(dataset: Dataset) -> Dataset:
    """Two passes and a failure of NORM, GEMM not run, IDLE with nothing, one unreadable line."""
    for definition in (NORM, GEMM, IDLE):
        dataset.write_definition(definition)
    work = trace("x", 1.0).model_copy(update={"solution": None, "evaluation": None})
    dataset.write_workloads(NORM, [work])
    gemm_inputs = {"A": RandomInput(), "B": RandomInput()}
    gemm_work = Workload(uuid="g", axes={"M": 3}, inputs=gemm_inputs)
    dataset.write_workloads(GEMM, [Trace(definition=GEMM.name, workload=gemm_work)])
    dataset.write_solution(solution("fast", NORM.name), NORM)
    dataset.write_solution(solution("one", GEMM.name), GEMM)
    dataset.append_traces(
        NORM,
        [
            trace("fast", 0.5),
            trace("fast", 1.0, rows=9),
            trace("broken<script>alert(1)</script>", None, log="line\nboom & <b>bang</b>"),
        ],
    )
    with open(dataset.trace_path(NORM), "a", encoding="utf-8") as file:
        file.write('{"definition": \n')
    return dataset


@pytest.fixture
def make_trace() -> Callable[..., Trace]:
    """The function `trace`, for tests that make their own."""
    return trace
