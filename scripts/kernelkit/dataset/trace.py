"""Trace: one evaluation of a solution on a workload; without both, a line of a workload file."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from kernelkit.dataset.base import FormatModel, NonEmptyString
from kernelkit.dataset.workload import Workload


class Status(str, Enum):
    """The verdicts of the format."""

    PASSED = "PASSED"
    INCORRECT_SHAPE = "INCORRECT_SHAPE"
    INCORRECT_NUMERICAL = "INCORRECT_NUMERICAL"
    INCORRECT_DTYPE = "INCORRECT_DTYPE"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    COMPILE_ERROR = "COMPILE_ERROR"
    TIMEOUT = "TIMEOUT"


class Correctness(FormatModel):
    """How far the solution's outputs are from the reference's."""

    model_config = ConfigDict(extra="allow", ser_json_inf_nan="strings")

    max_relative_error: float = 0.0
    max_absolute_error: float = 0.0
    extra: dict[str, Any] | None = None

    @field_validator("max_relative_error", "max_absolute_error")
    @classmethod
    def _not_negative(cls, value: float) -> float:
        if not math.isnan(value) and value < 0:
            raise ValueError("must be non-negative or NaN")
        return value


class Performance(FormatModel):
    """Median latencies and their quotient."""

    latency_ms: float = Field(default=0.0, ge=0.0)
    reference_latency_ms: float = Field(default=0.0, ge=0.0)
    speedup_factor: float = Field(default=0.0, ge=0.0)


class Environment(FormatModel):
    """Where it ran."""

    hardware: NonEmptyString
    libs: dict[str, str] = Field(default_factory=dict)


class Evaluation(FormatModel):
    """Verdict, correctness and performance: which of the two are present depends on the status."""

    status: Status
    environment: Environment
    timestamp: NonEmptyString
    log: str = ""
    correctness: Correctness | None = None
    performance: Performance | None = None

    @model_validator(mode="after")
    def _fields_follow_status(self) -> Evaluation:
        wants_correctness = self.status in (Status.PASSED, Status.INCORRECT_NUMERICAL)
        wants_performance = self.status is Status.PASSED
        for field, wanted in (
            ("correctness", wants_correctness),
            ("performance", wants_performance),
        ):
            if (getattr(self, field) is not None) != wanted:
                word = "needs" if wanted else "must not have"
                raise ValueError(f"status {self.status.value} {word} {field}")
        return self


class Trace(FormatModel):
    """A line of a trace file (all four fields), or of a workload file (definition, workload)."""

    definition: NonEmptyString
    workload: Workload
    solution: str | None = None
    evaluation: Evaluation | None = None

    @property
    def is_workload(self) -> bool:
        """Whether this is a line of a workload file."""
        return self.solution is None and self.evaluation is None

    def to_json(self) -> dict[str, Any]:
        """As the dataset has it: a workload line names its absent solution and evaluation."""
        plain = super().to_json()
        if self.is_workload:
            plain = {
                "definition": plain.pop("definition"),
                "solution": None,
                "workload": plain.pop("workload"),
                "evaluation": None,
                **plain,
            }
        return plain
