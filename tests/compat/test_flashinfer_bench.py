"""Every kind of file that the pack writes loads in flashinfer-bench's own models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernelkit.capture.sanitize import pipeline
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import (
    Correctness,
    Environment,
    Evaluation,
    Performance,
    Status,
    Trace,
)
from kernelkit.models.load import load_model
from kernelkit.ops.derivation import Request, derive
from kernelkit.solutions.pack import folders, pack

pytestmark = pytest.mark.compat
theirs = pytest.importorskip("flashinfer_bench.data", exc_type=ImportError)

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "scripts" / "demo_assets"
CONFIGS = sorted((ROOT / "tests" / "fixtures" / "configs").rglob("*.json"))


def _evaluation(status: Status) -> Evaluation:
    measured = status is Status.PASSED
    compared = measured or status is Status.INCORRECT_NUMERICAL
    errors = Correctness(
        max_absolute_error=float("inf"), max_relative_error=float("nan"), extra={"seed": 0}
    )
    return Evaluation(
        status=status,
        environment=Environment(hardware="cpu", libs={"torch": "2"}),
        timestamp="2026-01-01T00:00:00Z",
        log="text",
        correctness=errors if compared else None,
        performance=Performance(latency_ms=1.0) if measured else None,
    )


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """What the demo writes for Llama-3.1-8B, with a trace of every status."""
    spec = load_model(None, None, ASSETS / "config.json").spec
    made = derive(spec, Request(tags=("model:llama-3.1-8b",))).variants
    definitions = [variant.definition for variant in made]
    for definition in definitions:
        dataset.write_definition(definition)
    everything = pipeline.Settings(most=None, per_axes=None)
    pipeline.sanitize(ASSETS / "dump", dataset, definitions, everything)
    for folder in folders(ASSETS / "solutions"):
        for definition, solution in pack(folder, definitions):
            dataset.write_solution(solution, definition)
    norm = dataset.find_definition("rmsnorm_h4096")
    (line, *_) = dataset.workloads_of(norm)
    for status in Status:
        changes = {"solution": "torch_rmsnorm_h4096", "evaluation": _evaluation(status)}
        dataset.append_traces(norm, [line.model_copy(update=changes)])
    return dataset


def test_a_whole_dataset_loads(filled: Dataset) -> None:
    found = theirs.TraceSet.from_path(str(filled.root))
    assert set(found.definitions) == set(filled.definitions())
    assert sum(map(len, found.workloads.values())) == len(list(filled.load_workloads())) >= 15
    assert sum(map(len, found.traces.values())) == len(Status)
    assert sum(map(len, found.solutions.values())) == 9
    best = found.get_best_trace("rmsnorm_h4096", max_abs_error=float("inf"))
    assert best is None or best.evaluation.status.value == "PASSED"


def test_documents_say_the_same_in_both_models(filled: Dataset) -> None:
    pairs = [
        *((d.value, theirs.Definition) for d in filled.load_definitions()),
        *((s.value, theirs.Solution) for s in filled.load_solutions()),
        *((w.value, theirs.Trace) for w in filled.load_workloads()),
        *((t.value, theirs.Trace) for t in filled.load_traces()),
    ]
    assert len(pairs) > 40
    for ours, model in pairs:
        text = ours.to_line()
        loaded = model.model_validate_json(text)
        again = json.loads(loaded.model_dump_json(exclude_none=True))
        document = json.loads(text)
        if "workload" in document:
            assert "provenance" not in again["workload"]  # ours alone: theirs passes over it
            document["workload"].pop("provenance")
        assert _without_nulls(again) == _without_nulls(document)


def _without_nulls(value: object) -> object:
    """Fields that are null or at the format's default, on either side, say nothing."""
    if isinstance(value, dict):
        kept = {k: _without_nulls(v) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v is not None and v != [] and v is not False}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def test_recorded_tensors_load(filled: Dataset) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    name = "gqa_paged_decode_h32_kv8_d128_ps1"
    line = filled.workloads_of(filled.find_definition(name))[0]
    source = theirs.Trace.model_validate_json(line.to_line()).workload.inputs["kv_indices"]
    assert load_file(filled.root / source.path)[source.tensor_key].dtype == torch.int32


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_definitions_of_every_bundled_config_load(path: Path) -> None:
    spec = load_model(None, None, path).spec
    made = [variant.definition for variant in derive(spec, Request()).variants]
    assert made
    for definition in made:
        loaded = theirs.Definition.model_validate_json(definition.to_text())
        assert list(loaded.inputs) == list(definition.inputs)
        axes = dict.fromkeys(definition.var_axes, 3)
        assert [tuple(shape or ()) for shape in loaded.get_input_shapes(axes)] == [
            tuple(definition.shape_of(name, axes) or ()) for name in definition.inputs
        ]


def test_a_definition_that_we_refuse_is_refused_there(filled: Dataset) -> None:
    """The rules of both are the same where the format has a rule."""
    good = filled.find_definition("rmsnorm_h4096").to_json()
    for change in (
        {"reference": "x = 1"},
        {"reference": "def run(:"},
        {"axes": {}},
        {"constraints": ["=="]},
        {"outputs": good["inputs"]},
    ):
        for model in (Definition, theirs.Definition):
            with pytest.raises(ValueError):
                model.model_validate({**good, **change})


def test_their_trace_loads_here(filled: Dataset) -> None:
    for loaded in filled.load_traces():
        text = theirs.Trace.model_validate_json(loaded.value.to_line()).model_dump_json()
        assert Trace.model_validate_json(text).evaluation.status is loaded.value.evaluation.status
