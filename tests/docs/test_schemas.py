"""The schema documents say just what the models say: fields, types, defaults, values, examples."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kernelkit.bench.clock.timing import summarize
from kernelkit.bench.limits.ceilings import Ceilings, Figure
from kernelkit.bench.limits.cost import Work
from kernelkit.bench.outcome import Outcome
from kernelkit.bench.settings import Settings
from kernelkit.bench.verdict import make_evaluation
from kernelkit.dataset import definition, solution, trace, workload

FOLDER = Path(__file__).resolve().parents[2] / ".claude/skills/add-flashinfer-solution/reference"
MODULES = {
    "definition_schema.md": (definition,),
    "solution_schema.md": (solution,),
    "trace_schema.md": (trace, workload),
}
HEADER = ["Field", "Type", "Default", "Rule", "Example"]
PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything"}
# A model that a document of its own describes as a part: tables of facts, not of fields.
FACTS = ("Facts in extra", "Facts of a timing", "Facts of a speed of light")


def _own(module: types.ModuleType, kind: type) -> Iterator[type]:
    """The classes of that kind which the module itself defines."""
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, kind):
            if value.__module__ == module.__name__:
                yield value


MODELS = [
    (file, model)
    for file, modules in MODULES.items()
    for module in modules
    for model in _own(module, BaseModel)
]
ENUMS = [
    (file, kind)
    for file, modules in MODULES.items()
    for module in modules
    for kind in _own(module, Enum)
]


def _text(file: str) -> str:
    return (FOLDER / file).read_text(encoding="utf-8")


def _headings(file: str) -> list[str]:
    return re.findall(r"^## (.+)$", _text(file), flags=re.MULTILINE)


def _table(file: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, its header first."""
    parts = re.split(rf"^## {re.escape(heading)}$", _text(file), flags=re.MULTILINE)
    assert len(parts) == 2, f"{file}: {len(parts) - 1} headings {heading!r}"
    section = re.split(r"^## ", parts[1], flags=re.MULTILINE)[0]
    table = re.search(r"(?:^\|.*\|\n)+", section, flags=re.MULTILINE)
    assert table, f"{file}: no table below {heading!r}"
    rows = [re.split(r" \| ", row.strip("| ")) for row in table.group().splitlines()]
    return [[cell.strip() for cell in row] for row in rows if not set("".join(row)) <= set("-| ")]


def _rows(file: str, heading: str) -> dict[str, dict[str, str]]:
    """The rows of a model's table by field. An empty cell between two bars stays a cell."""
    header, *rows = _table(file, heading)
    assert header == HEADER
    padded = [[cell.removeprefix("| ") for cell in row] for row in rows]
    assert {len(row) for row in padded} == {len(HEADER)}, f"{file}, {heading}: cells"
    return {row[0].strip("`"): dict(zip(HEADER, row, strict=True)) for row in padded}


def _type(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    """A type as the documents write it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], arguments[1:])
    if any(getattr(mark, "func", None) is solution._file_name for mark in metadata):
        return "file name"
    if origin is Literal:
        return f"`{arguments[0]}`"
    if origin in (Union, types.UnionType):
        held = [_type(kind) for kind in arguments if kind is not type(None)]
        return " or ".join(held) + (", or null" if type(None) in arguments else "")
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        held = _type(arguments[1])
        return "map" if held == "anything" else f"map of {held}"
    at_least_0 = any(isinstance(m, annotated_types.Ge) and m.ge == 0 for m in _flat(metadata))
    return PLAIN.get(annotation, getattr(annotation, "__name__", "")) + ", 0 or more" * at_least_0


def _flat(metadata: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    for mark in metadata:
        yield from mark.metadata if isinstance(mark, FieldInfo) else (mark,)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "absent" if value is None else f"`{json.dumps(value)}`"


@pytest.mark.parametrize(("file", "model"), MODELS, ids=[m.__name__ for _, m in MODELS])
def test_fields_are_those_of_the_model(file: str, model: type[BaseModel]) -> None:
    assert list(_rows(file, model.__name__)) == list(model.model_fields)


@pytest.mark.parametrize(("file", "model"), MODELS, ids=[m.__name__ for _, m in MODELS])
def test_types_and_defaults_are_those_of_the_model(file: str, model: type[BaseModel]) -> None:
    rows = _rows(file, model.__name__)
    for name, field in model.model_fields.items():
        expected = _type(field.annotation, field.metadata)
        if field.default is None:  # null may be written where the format itself writes it
            allowed = {expected, expected.removesuffix(", or null")}
        else:
            allowed = {expected}
        assert rows[name]["Type"] in allowed, f"{model.__name__}.{name}"
        assert rows[name]["Default"] == _default(field), f"{model.__name__}.{name}"


@pytest.mark.parametrize(("file", "model"), MODELS, ids=[m.__name__ for _, m in MODELS])
def test_examples_of_a_table_make_a_valid_object(file: str, model: type[BaseModel]) -> None:
    values = {
        name: json.loads(row["Example"].strip("`"))
        for name, row in _rows(file, model.__name__).items()
    }
    read = model.model_validate_json(json.dumps(values))
    assert not read.model_extra
    assert read.model_fields_set == set(values)


@pytest.mark.parametrize(("file", "model"), MODELS, ids=[m.__name__ for _, m in MODELS])
def test_every_field_has_a_rule_or_is_a_description(file: str, model: type[BaseModel]) -> None:
    bare = [n for n, row in _rows(file, model.__name__).items() if not row["Rule"]]
    assert set(bare) <= {"description", "environment"}


@pytest.mark.parametrize(("file", "kind"), ENUMS, ids=[k.__name__ for _, k in ENUMS])
def test_values_are_those_of_the_enum(file: str, kind: type[Enum]) -> None:
    (line,) = re.findall(rf"^Values of {kind.__name__}: (.+)\.$", _text(file), flags=re.MULTILINE)
    assert re.findall(r"`([^`]+)`", line) == [value.value for value in kind]


@pytest.mark.parametrize("file", MODULES)
def test_no_table_of_fields_without_a_model(file: str) -> None:
    names = {model.__name__ for held, model in MODELS if held == file}
    assert set(re.findall(r"^## ([A-Z]\w+)$", _text(file), flags=re.MULTILINE)) == names


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("definition_schema.md", definition.Definition),
        ("solution_schema.md", solution.Solution),
        ("trace_schema.md", trace.Trace),
    ],
)
def test_whole_example_is_valid(file: str, model: type[BaseModel]) -> None:
    (example,) = re.findall(r"^```json \w+\n(.*?)^```$", _text(file), re.MULTILINE | re.DOTALL)
    model.model_validate_json(example)


def test_status_table_tells_which_parts_a_verdict_has() -> None:
    section = _text("trace_schema.md").split("| Status | Means |")[1].split("\n## ")[0]
    told = {}
    for row in re.findall(r"^\| (`.+?) \| .+? \| (yes|no) \| (yes|no) \|$", section, re.MULTILINE):
        for status in re.findall(r"`(\w+)`", row[0]):
            told[status] = tuple(part == "yes" for part in row[1:])
    assert told == {status.value: _parts(status) for status in trace.Status}


def _parts(status: trace.Status) -> tuple[bool, bool]:
    """Which of correctness and performance the models demand of a verdict."""
    for has_correctness in (False, True):
        for has_performance in (False, True):
            try:
                trace.Evaluation(
                    status=status, environment=trace.Environment(hardware="x"), timestamp="x",
                    correctness=trace.Correctness() if has_correctness else None,
                    performance=trace.Performance() if has_performance else None,
                )  # fmt: skip
            except ValueError:
                continue
            return has_correctness, has_performance
    raise AssertionError(status)


@pytest.fixture(scope="module")
def extra() -> dict[str, Any]:
    """The facts that the evaluator writes of a solution that passed on a GPU."""
    timing = summarize([[1.0, 1.1, 0.9]], "cuda events", extra={"outside_ms": 1.0})
    ceilings = Ceilings(
        device="cuda", name="x", driver="x", torch="x", facts={}, absent={}, measured_at="x",
        figures={name: Figure(100.0, unit, "x") for name, unit in
                 (("copy", "GB/s"), ("bf16", "TFLOP/s"))},
    )  # fmt: skip
    made = make_evaluation(
        Outcome(timing=timing, calls=3, verified=3), Settings(device="cuda:0"),
        tolerance={"atol": 0.1, "rtol": 0.1, "matched_ratio": 1.0}, reference=timing.to_json(),
        machine={"hardware": "x", "libs": {}}, isolation=["own session"],
        work=Work(bytes_moved=1e6, flops=1e6, dtype="bfloat16"), ceilings=ceilings, log="x",
    )  # fmt: skip
    assert made.correctness is not None and made.correctness.extra is not None
    return made.correctness.extra


def test_facts_are_those_that_the_evaluator_writes(extra: dict[str, Any]) -> None:
    written = (extra, extra["timing"], extra["speed_of_light"])
    assert extra["reference_timing"].keys() == extra["timing"].keys()
    for heading, facts in zip(FACTS, written, strict=True):
        header, *rows = _table("trace_schema.md", heading)
        assert header == ["Fact", "Type", "Meaning"]
        assert sorted(row[0].strip("`") for row in rows) == sorted(facts), heading
