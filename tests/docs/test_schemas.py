"""The schema documents name every field of the models, and no other; their examples are valid."""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import Path

import pytest
from pydantic import BaseModel

from kernelkit.dataset import definition, solution, trace, workload

FOLDER = Path(__file__).resolve().parents[2] / ".claude/skills/add-flashinfer-solution/reference"
MODELS: list[tuple[str, type[BaseModel]]] = [
    *(("definition_schema.md", getattr(definition, name))
      for name in ("Definition", "AxisConst", "AxisVar", "TensorSpec")),
    *(("solution_schema.md", getattr(solution, name))
      for name in ("Solution", "BuildSpec", "SourceFile")),
    *(("trace_schema.md", getattr(trace, name))
      for name in ("Trace", "Evaluation", "Correctness", "Performance", "Environment")),
    ("trace_schema.md", workload.Workload),
]  # fmt: skip
ENUMS: list[tuple[str, type[Enum]]] = [
    ("solution_schema.md", solution.Language),
    ("solution_schema.md", solution.Binding),
    ("trace_schema.md", trace.Status),
]


def _fields(file: str, heading: str) -> list[str]:
    """The first column of the table below a heading."""
    text = (FOLDER / file).read_text(encoding="utf-8")
    section = re.split(rf"^## {heading}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


@pytest.mark.parametrize(("file", "model"), MODELS, ids=[m.__name__ for _, m in MODELS])
def test_every_field_and_no_other(file: str, model: type[BaseModel]) -> None:
    assert sorted(_fields(file, model.__name__)) == sorted(model.model_fields)


@pytest.mark.parametrize(("file", "kind"), ENUMS, ids=[k.__name__ for _, k in ENUMS])
def test_every_value(file: str, kind: type[Enum]) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    assert [value.value for value in kind if f"`{value.value}`" not in text] == []


@pytest.mark.parametrize(
    ("file", "model"),
    [("definition_schema.md", definition.Definition), ("solution_schema.md", solution.Solution)],
)
def test_examples_are_valid(file: str, model: type[BaseModel]) -> None:
    text = (FOLDER / file).read_text(encoding="utf-8")
    (example,) = re.findall(r"^```json\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    model.model_validate(json.loads(example))
