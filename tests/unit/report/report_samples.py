"""Traces and solutions that the tests of reports are made of."""

from __future__ import annotations

from typing import Any

from kernelkit.dataset.solution import Solution
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
EVIL = "broken<script>alert(1)</script>"


def trace(
    solution: str,
    latency: float | None,
    *,
    reference: float = 2.0,
    rows: int = 7,
    when: str = "2026-01-01T00:00:00Z",
    hardware: str = "Test CPU",
    log: str = "",
    extra: dict[str, Any] | None = None,
    status: Status = Status.RUNTIME_ERROR,
) -> Trace:
    """A trace of NORM; `latency` None: it failed with `status`. `extra` None: it has a timing."""
    correctness = performance = None
    if latency is not None:
        performance = Performance(
            latency_ms=latency,
            reference_latency_ms=reference,
            speedup_factor=reference / latency if latency else 0.0,
        )
        timing = {"median_ms": latency, "p10_ms": latency * 0.9, "p90_ms": latency * 1.1}
        told = {"timing": timing} if extra is None else extra
        correctness = Correctness(max_absolute_error=0.001, extra=told)
    inputs = {"hidden_states": RandomInput(), "weight": RandomInput()}
    return Trace(
        definition=NORM.name,
        workload=Workload(uuid=f"u{rows}", axes={"batch_size": rows}, inputs=inputs),
        solution=solution,
        evaluation=Evaluation(
            status=Status.PASSED if latency is not None else status,
            environment=Environment(hardware=hardware, libs={"torch": "9.9"}),
            timestamp=when,
            log=log,
            correctness=correctness,
            performance=performance,
        ),
    )


def solution(name: str, definition: str, author: str = "tests") -> Solution:
    """A solution that nobody runs."""
    return Solution.model_validate(
        {
            "name": name,
            "definition": definition,
            "author": author,
            "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "m.py::run"},
            "sources": [{"path": "m.py", "content": "def run(): pass\n"}],
        }
    )
