"""The format's models: what they take and refuse, and that a round trip loses nothing."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from kernelkit.dataset.definition import ITEM_BYTES, Definition, DType
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.trace import Status, Trace

Document = dict[str, Any]
WORKLOAD: Document = {
    "uuid": "u", "axes": {"n": 0}, "inputs": {
        "a": {"type": "random"}, "s": {"type": "scalar", "value": 1},
        "b": {"type": "scalar", "value": True},
        "i": {"type": "safetensors", "path": "blob/x", "tensor_key": "i"}},
}  # fmt: skip
CORRECT = {"max_relative_error": 0.5, "max_absolute_error": 0.25}
FAST = {"latency_ms": 2.0, "reference_latency_ms": 3.0, "speedup_factor": 1.5}


def definition(**changes: object) -> Document:
    """A small definition."""
    return {
        "name": "d", "op_type": "t", "axes": {"n": {"type": "var"}, "k": {"type": "const",
                                                                         "value": 8}},
        "inputs": {"a": {"shape": ["n", "k"], "dtype": "bfloat16"},
                   "s": {"shape": None, "dtype": "float32"}},
        "outputs": {"o": {"shape": ["n"], "dtype": "float32"}},
        "reference": "def run(a, s):\n    return a\n", **changes,
    }  # fmt: skip


def solution(**changes: object) -> Document:
    """A small solution."""
    spec = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run"}
    return {"name": "s", "definition": "d", "author": "x", "spec": spec,
            "sources": [{"path": "main.py", "content": "x"}], **changes}  # fmt: skip


def trace(status: str, **parts: object) -> Document:
    """A trace line of that status."""
    evaluation = {"status": status, "environment": {"hardware": "cpu"}, "timestamp": "t", **parts}
    return {"definition": "d", "workload": WORKLOAD, "solution": "s", "evaluation": evaluation}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("correctness", [None, CORRECT])
@pytest.mark.parametrize("performance", [None, FAST])
def test_parts_of_an_evaluation_follow_its_status(
    status: Status, correctness: Document | None, performance: Document | None
) -> None:
    wants = {
        Status.PASSED: (True, True),
        Status.INCORRECT_NUMERICAL: (True, False),
    }.get(status, (False, False))
    held = {"correctness": correctness, "performance": performance}
    document = trace(status.value, **{k: v for k, v in held.items() if v is not None})
    if (correctness is not None, performance is not None) == wants:
        assert Trace.model_validate(document).to_json()["evaluation"]["status"] == status.value
    else:
        with pytest.raises(ValidationError, match=status.value):
            Trace.model_validate(document)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_errors_that_are_no_number_survive(value: float) -> None:
    held = {"max_relative_error": value, "max_absolute_error": 1.0}
    line = Trace.model_validate(trace("INCORRECT_NUMERICAL", correctness=held)).to_line()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    again = Trace.model_validate_json(line)
    assert again.evaluation is not None and again.evaluation.correctness is not None
    read = again.evaluation.correctness.max_relative_error
    assert read == value or (math.isnan(read) and math.isnan(value))
    with pytest.raises(ValidationError, match="non-negative"):
        Trace.model_validate(
            trace("INCORRECT_NUMERICAL", correctness={**CORRECT, "max_absolute_error": -1})
        )


def test_a_workload_line_names_what_it_has_not() -> None:
    line = Trace.model_validate({"definition": "d", "workload": WORKLOAD})
    plain = json.loads(line.to_line())
    assert line.is_workload and plain == {
        "definition": "d", "solution": None, "workload": WORKLOAD, "evaluation": None
    }  # fmt: skip
    assert type(plain["workload"]["inputs"]["b"]["value"]) is bool
    assert type(plain["workload"]["inputs"]["s"]["value"]) is int


def test_unknown_keys_of_every_level_survive() -> None:
    document = trace("PASSED", correctness={**CORRECT, "ulp": 3}, performance={**FAST, "us": 1})
    document["workload"] = {**WORKLOAD, "seen": 4}
    document["note"] = "x"
    plain = Trace.model_validate(document).to_json()
    assert plain["note"] == "x" and plain["workload"]["seen"] == 4
    assert plain["evaluation"]["correctness"]["ulp"] == 3
    assert plain["evaluation"]["performance"]["us"] == 1
    kept = Solution.model_validate(solution(licence="x")).to_json()
    assert kept["licence"] == "x"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "def run(:\n"}, "not valid Python"),
        ({"reference": "def main():\n    pass\n"}, "top-level function 'run'"),
        ({"reference": "class A:\n    def run(self):\n        pass\n"}, "top-level"),
        ({"outputs": {"a": {"shape": ["n"], "dtype": "int32"}}}, "both input and output"),
        ({"inputs": {"a": {"shape": ["m"], "dtype": "int32"}}}, "undeclared axis 'm'"),
        ({"outputs": {"o": {"shape": ["m"], "dtype": "int32"}}}, "undeclared axis 'm'"),
        ({"inputs": {"a": {"shape": ["n"], "dtype": "uint8"}}}, "dtype"),
        ({"axes": {"n": {"type": "const", "value": -1}}}, "greater than or equal to 0"),
        ({"axes": {"n": {"type": "const"}}}, "value"),
        ({"axes": {"n": {"type": "free"}}}, "axes.n"),
        ({"constraints": ["n ==="]}, "not an expression"),
        ({"name": ""}, "name"),
    ],
)
def test_definitions_that_are_refused(changes: Document, message: str) -> None:
    Definition.model_validate(definition())
    with pytest.raises(ValidationError, match=message):
        Definition.model_validate(definition(**changes))


def test_axes_shapes_and_signature() -> None:
    made = Definition.model_validate(definition())
    assert (made.const_axes, made.var_axes) == ({"k": 8}, ["n"])
    assert made.shape_of("a", {"n": 3}) == (3, 8)
    assert made.shape_of("s", {}) is None and made.shape_of("o", {"n": 0}) == (0,)
    with pytest.raises(KeyError):
        made.shape_of("absent", {"n": 3})
    with pytest.raises(KeyError):
        made.shape_of("a", {})
    same = definition(description="text", tags=["model:x"], reference="def run(x):\n    pass\n")
    assert Definition.model_validate(same).signature() == made.signature()
    swapped = definition(inputs=dict(reversed(definition()["inputs"].items())))
    assert Definition.model_validate(swapped).signature() != made.signature(), "order counts"


def test_a_constant_axis_wins_over_a_workload() -> None:
    assert Definition.model_validate(definition()).shape_of("a", {"n": 1, "k": 9}) == (1, 8)


def test_every_dtype_has_a_size() -> None:
    assert set(ITEM_BYTES) == {dtype.value for dtype in DType}


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": []},
        {"sources": [{"path": "other.py", "content": "x"}]},
        {"sources": [{"path": "main.py", "content": "x"}] * 2},
        {"sources": [{"path": "/main.py", "content": "x"}]},
        {"sources": [{"path": "a/../main.py", "content": "x"}]},
        {"sources": [{"path": "main.py", "content": ""}]},
        {"spec": {**solution()["spec"], "entry_point": "main.py"}},
        {"spec": {**solution()["spec"], "entry_point": "main.py::a::b"}},
        {"spec": {**solution()["spec"], "language": "fortran"}},
        {"spec": {**solution()["spec"], "target_hardware": []}},
    ],
)
def test_solutions_that_are_refused(changes: Document) -> None:
    Solution.model_validate(solution())
    with pytest.raises(ValidationError):
        Solution.model_validate(solution(**changes))


def test_destination_passing_is_the_default_and_dependencies_may_be_absent() -> None:
    spec = Solution.model_validate(solution()).spec
    assert spec.destination_passing_style is True and spec.dependencies == []
    assert (spec.entry_file, spec.entry_symbol) == ("main.py", "run")
