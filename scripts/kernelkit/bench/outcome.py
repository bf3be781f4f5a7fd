"""What came of a solution on a workload, and what its process has answered on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kernelkit.bench.clock import timing
from kernelkit.bench.isolation.processes import SolutionFailedError
from kernelkit.dataset.trace import Status


class RefusedError(Exception):
    """A call was judged wrong: the verifier's document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        super().__init__(document["message"])


@dataclass
class Outcome:
    """What a trial came to."""

    status: Status = Status.PASSED
    message: str = ""
    judged: list[dict[str, Any]] = field(default_factory=list)  # the verifier's documents
    calls: int = 0
    verified: int = 0
    timing: timing.Timing | None = None
    notes: list[str] = field(default_factory=list)
    shaken: bool = False  # the ground it was measured on has changed


def answered(answer: object) -> dict[str, Any]:
    """The answer of a call that went well. Raises SolutionFailedError."""
    if not isinstance(answer, dict):
        raise SolutionFailedError(Status.RUNTIME_ERROR, "an answer of no known form")
    if answer.get("ok") is True:
        return answer
    status = Status.RUNTIME_ERROR
    if answer.get("status") in (Status.INCORRECT_SHAPE.value, Status.INCORRECT_DTYPE.value):
        status = Status(answer["status"])
    raise SolutionFailedError(status, str(answer.get("error", "no reason given"))[:4000])


def number(answer: dict[str, Any], name: str) -> float:
    """A time that the process claims. Raises SolutionFailedError for what cannot be one."""
    value = answer.get(name)
    if isinstance(value, bool) or not timing.sound(value):
        text = f"void: {name} is {value!r}, no time"
        raise SolutionFailedError(Status.RUNTIME_ERROR, text)
    return float(value)
