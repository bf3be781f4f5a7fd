"""The four views of a dataset, as flat rows of one schema each.

What differs from definition to definition (axes, inputs, sources of inputs) is JSON text in a
column, so that every row has the same columns. Numbers that are not finite are absent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, Loaded
from kernelkit.dataset.tags import fi_api_of
from kernelkit.dataset.trace import Trace
from kernelkit.errors import FormatError

TEXT, WHOLE, REAL, FLAG, TEXTS, FILES = "string", "int64", "float64", "bool", "strings", "files"
Record = dict[str, Any]


@dataclass(frozen=True)
class View:
    """A table: its name, what a row is, and its columns with their types."""

    name: str
    what: str
    columns: dict[str, str]


VIEWS = (
    View("definitions", "an operator's interface and its PyTorch reference", {
        "name": TEXT, "op_type": TEXT, "description": TEXT, "models": TEXTS, "status": TEXT,
        "fi_api": TEXT, "tags": TEXTS, "axes": TEXT, "constraints": TEXTS, "inputs": TEXT,
        "outputs": TEXT, "reference": TEXT,
    }),
    View("workloads", "one call: values of the variable axes and where each input comes from", {
        "definition": TEXT, "op_type": TEXT, "uuid": TEXT, "axes": TEXT, "inputs": TEXT,
        "blobs": TEXTS,
    }),
    View("solutions", "a kernel: its sources and how it is built", {
        "name": TEXT, "definition": TEXT, "op_type": TEXT, "author": TEXT, "description": TEXT,
        "language": TEXT, "target_hardware": TEXTS, "entry_point": TEXT, "dependencies": TEXTS,
        "destination_passing_style": FLAG, "binding": TEXT, "sources": FILES,
    }),
    View("traces", "the verdict and times of one solution on one workload", {
        "definition": TEXT, "op_type": TEXT, "workload": TEXT, "axes": TEXT, "solution": TEXT,
        "author": TEXT, "status": TEXT, "hardware": TEXT, "timestamp": TEXT, "latency_ms": REAL,
        "reference_latency_ms": REAL, "speedup_factor": REAL, "max_absolute_error": REAL,
        "max_relative_error": REAL, "libs": TEXT, "log": TEXT,
    }),
)  # fmt: skip


@dataclass
class Tables:
    """Rows by view, and one line for each file or line that could not be read."""

    rows: dict[str, list[Record]]
    errors: list[str]


def read(dataset: Dataset) -> Tables:
    """Every view of a dataset; what cannot be read becomes an error and hides nothing else."""
    made = Tables({view.name: [] for view in VIEWS}, [])
    definitions = list(_good(dataset, dataset.load_definitions(), made.errors))
    op_types = {d.name: d.op_type for d in definitions}
    solutions = list(_good(dataset, dataset.load_solutions(), made.errors))
    authors = {s.name: s.author for s in solutions}
    made.rows["definitions"] = list(_each(definitions, _definition, made.errors))
    made.rows["solutions"] = [_solution(s, op_types) for s in solutions]
    workloads = _good(dataset, dataset.load_workloads(), made.errors)
    made.rows["workloads"] = [_workload(line, op_types) for line in workloads]
    traces = _good(dataset, dataset.load_traces(), made.errors)
    made.rows["traces"] = [_trace(t, op_types, authors) for t in traces if t.evaluation is not None]
    return made


def models_of(tags: list[str]) -> list[str]:
    """The models that tags name."""
    return [tag.removeprefix("model:") for tag in tags if tag.startswith("model:")]


def _good(dataset: Dataset, found: Iterator[Loaded[Any]], errors: list[str]) -> Iterator[Any]:
    for loaded in found:
        if loaded.value is not None:
            yield loaded.value
            continue
        line = f":{loaded.line}" if loaded.line else ""
        errors.append(f"{dataset.relative(loaded.path)}{line}: {loaded.error}")


def _each(
    values: list[Definition], made: Callable[[Definition], Record], errors: list[str]
) -> Iterator[Record]:
    for value in values:
        try:
            yield made(value)
        except FormatError as error:
            errors.append(f"{value.name}: {error}")


def _definition(definition: Definition) -> Record:
    plain = definition.to_json()
    status = [t.removeprefix("status:") for t in definition.tags if t.startswith("status:")]
    return {
        "name": definition.name,
        "op_type": definition.op_type,
        "description": definition.description,
        "models": models_of(definition.tags),
        "status": status[0] if status else None,
        "fi_api": fi_api_of(definition.tags),
        "tags": list(definition.tags),
        "axes": _text(plain["axes"]),
        "constraints": list(definition.constraints),
        "inputs": _text(plain["inputs"]),
        "outputs": _text(plain["outputs"]),
        "reference": definition.reference,
    }


def _workload(line: Trace, op_types: dict[str, str]) -> Record:
    plain = line.workload.to_json()
    paths = [source.get("path") for source in plain["inputs"].values()]
    return {
        "definition": line.definition,
        "op_type": op_types.get(line.definition),
        "uuid": line.workload.uuid,
        "axes": _text(plain["axes"]),
        "inputs": _text(plain["inputs"]),
        "blobs": sorted({path for path in paths if path}),
    }


def _solution(solution: Solution, op_types: dict[str, str]) -> Record:
    spec = solution.to_json()["spec"]
    return {
        "name": solution.name,
        "definition": solution.definition,
        "op_type": op_types.get(solution.definition),
        "author": solution.author,
        "description": solution.description,
        "language": solution.spec.language.value,
        "target_hardware": list(solution.spec.target_hardware),
        "entry_point": solution.spec.entry_point,
        "dependencies": list(solution.spec.dependencies),
        "destination_passing_style": solution.spec.destination_passing_style,
        "binding": spec.get("binding"),
        "sources": [{"path": s.path, "content": s.content} for s in solution.sources],
    }


def _trace(trace: Trace, op_types: dict[str, str], authors: dict[str, str]) -> Record:
    found = trace.evaluation
    assert found is not None
    correctness, performance = found.correctness, found.performance
    return {
        "definition": trace.definition,
        "op_type": op_types.get(trace.definition),
        "workload": trace.workload.uuid,
        "axes": _text(trace.workload.axes),
        "solution": trace.solution,
        "author": authors.get(trace.solution or ""),
        "status": found.status.value,
        "hardware": found.environment.hardware,
        "timestamp": found.timestamp,
        "latency_ms": _finite(performance, "latency_ms"),
        "reference_latency_ms": _finite(performance, "reference_latency_ms"),
        "speedup_factor": _finite(performance, "speedup_factor"),
        "max_absolute_error": _finite(correctness, "max_absolute_error"),
        "max_relative_error": _finite(correctness, "max_relative_error"),
        "libs": _text(found.environment.libs),
        "log": found.log,
    }


def _finite(part: object, name: str) -> float | None:
    value = getattr(part, name, None)
    return float(value) if value is not None and math.isfinite(value) else None


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
