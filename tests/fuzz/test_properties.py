"""What must hold for every value: round trips, doing it twice, and order that does not matter."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy
import pytest
from fuzz_samples import NORM, PAGED, SOLUTION, TRACE, WORKLOAD
from hostile import budget, snapshot
from hypothesis import given
from hypothesis import strategies as st

from kernelkit.capture.recorded import TensorValue
from kernelkit.capture.recording import Recording
from kernelkit.capture.recording_writer import RecordingWriter
from kernelkit.capture.sanitize.pipeline import Settings, sanitize
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, load_json
from kernelkit.dataset.trace import Trace
from kernelkit.models.load import load_model
from kernelkit.ops.base import Variant
from kernelkit.ops.derivation import Request, derive
from kernelkit.ops.placement import place, write
from kernelkit.solutions import pack, unpack

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
DEMO = ROOT / "scripts" / "demo_assets"
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
NAMES = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=8)
NUMBERS = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), TEXT, st.lists(st.integers(), max_size=3)
)
EXTRA = st.dictionaries(NAMES.map(lambda name: f"x_{name}"), TEXT, max_size=2)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.dictionaries(NAMES, st.none() | st.integers(0, 2**40), min_size=1, max_size=4))
    shapes = st.none() | st.lists(st.sampled_from(sorted(axes)), max_size=3)
    dtypes = st.sampled_from(["float32", "bfloat16", "float8_e4m3fn", "int32", "bool"])
    tensors = st.fixed_dictionaries({"shape": shapes, "dtype": dtypes})
    return {
        "name": draw(NAMES), "op_type": draw(NAMES), "description": draw(TEXT), **draw(EXTRA),
        "tags": draw(st.lists(TEXT.filter(bool), max_size=3)),
        "axes": {n: {"type": "var"} if v is None else {"type": "const", "value": v}
                 for n, v in axes.items()},
        "inputs": draw(st.dictionaries(NAMES.map(lambda n: f"i_{n}"), tensors, max_size=3)),
        "outputs": draw(st.dictionaries(NAMES.map(lambda n: f"o_{n}"), tensors, max_size=3)),
        "reference": "def run(*arguments):\n    return arguments\n",
    }  # fmt: skip


@budget(cheap=3)
@given(definitions())
def test_a_definition_survives_its_file(document: dict[str, Any]) -> None:
    made = Definition.model_validate(document)
    again = Definition.model_validate_json(made.to_text())
    assert again == made and again.to_text() == made.to_text()
    assert {**again.to_json(), "constraints": 0} == {**document, "constraints": 0}


@budget(cheap=3)
@given(st.data())
def test_workloads_and_traces_survive_their_lines(data: st.DataObject) -> None:
    axes = data.draw(st.dictionaries(NAMES, st.integers(0, 2**62), max_size=4))
    scalars = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False)
    inputs = {
        **WORKLOAD["workload"]["inputs"],
        **{name: {"type": "scalar", "value": data.draw(scalars)} for name in ("s_1", "s_2")},
    }
    workload = {"uuid": data.draw(NAMES), "axes": axes, "inputs": inputs, **data.draw(EXTRA)}
    for document in ({**WORKLOAD, "workload": workload}, {**TRACE, "workload": workload}):
        made = Trace.model_validate(document)
        again = Trace.model_validate_json(made.to_line())
        assert again.workload.axes == axes and again.to_line() == made.to_line()
        assert "\n" not in made.to_line()


@budget(cheap=3)
@given(NUMBERS, NUMBERS, st.floats(min_value=0) | st.just(float("nan")), PLAIN, TEXT)
def test_an_evaluation_survives_its_line(
    latency: float, speedup: float, error: float, extra: object, log: str
) -> None:
    document = json.loads(json.dumps(TRACE))
    document["evaluation"]["log"] = log
    document["evaluation"]["performance"].update(latency_ms=latency, speedup_factor=speedup)
    document["evaluation"]["correctness"].update(
        max_relative_error=error, extra={"timing": {"value": extra}}
    )
    made = Trace.model_validate(document)
    again = Trace.model_validate_json(made.to_line())
    assert again.to_line() == made.to_line()
    held = again.evaluation
    assert held is not None and held.performance is not None and held.correctness is not None
    assert held.log == log and held.performance.latency_ms == latency
    assert repr(held.correctness.max_relative_error) == repr(error)


SOURCES = st.dictionaries(
    NAMES.map(lambda name: f"f_{name}.txt") | NAMES.map(lambda name: f"d_{name}/x.h"),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1),
    max_size=4,
)


def test_a_solution_survives_its_folder(tmp_path: Path) -> None:
    numbers = iter(range(10**9))

    @budget()
    @given(SOURCES, EXTRA, TEXT | st.none())
    def check(files: dict[str, str], extra: dict[str, str], description: str | None) -> None:
        others = [{"path": path, "content": text} for path, text in files.items()]
        document = {**SOLUTION, **extra, "description": description,
                    "sources": [*SOLUTION["sources"], *others]}  # fmt: skip
        Solution.model_validate(document)
        folder = tmp_path / str(next(numbers))
        assert unpack.write(unpack.plan_document(folder, document, force=False)) > 0
        assert pack.pack_folder(folder) == document
        assert unpack.plan_document(folder, document, force=False) == []

    check()


@st.composite
def calls(draw: st.DrawFn) -> list[tuple[list[int], dict[str, Any]]]:
    values = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=300)
    scalars = st.dictionaries(NAMES.map(lambda n: f"s_{n}"), st.none() | st.booleans()
                              | st.integers(-9, 9) | TEXT, max_size=3)  # fmt: skip
    return draw(st.lists(st.tuples(values, scalars), min_size=1, max_size=5))


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    numbers = iter(range(10**9))
    api = {"p": "flashinfer.x.Wrapper", "m": "run", "s": "(self, ids)", "n": ["ids"], "d": {"k": 1}}

    @budget()
    @given(calls())
    def check(made: list[tuple[list[int], dict[str, Any]]]) -> None:
        writer = RecordingWriter(tmp_path / f"{next(numbers)}.kkrec", {}, max_bytes=1 << 24)
        for step, (values, scalars) in enumerate(made):
            array = numpy.array(values, numpy.int32)
            tensor = {"t": [[len(values)], "int32", [1], "cpu"]}
            form = writer.form(writer.api(api), {"ids": tensor, **scalars})
            writer.call({"f": form, "b": {"ids": writer.blob(array.tobytes())}, "s": step})
        writer.close()
        recording = Recording.open(writer.path)
        found = list(recording.calls())
        assert recording.problems == [] and sum(call.count for call in found) == len(made)
        read = [
            (_values(recording, call.arguments["ids"]),
             {name: value for name, value in call.arguments.items() if name != "ids"})
            for call in found
        ]  # fmt: skip
        distinct = [call for at, call in enumerate(made) if not _among(call, made[:at])]
        assert [repr(call) for call in read] == [repr(call) for call in distinct]

    check()


def _values(recording: Recording, value: object) -> list[int]:
    assert isinstance(value, TensorValue)
    return recording.array(value).tolist()


def _among(call: tuple[list[int], dict[str, Any]], others: list[Any]) -> bool:
    """Whether an equal call was made: as JSON, so that 1 and True differ, in any order of names."""
    return json.dumps(call, sort_keys=True) in [json.dumps(o, sort_keys=True) for o in others]


@pytest.fixture(scope="module")
def variants() -> list[Variant]:
    """Definitions of three models, some of them shared."""
    found = []
    for model in ("meta-llama__Llama-3.1-8B", "mistralai__Mistral-7B-v0.1", "google__gemma-2-9b"):
        request = Request(op_types=("rmsnorm", "gemm", "gqa_paged"), tags=(f"model:{model}",))
        found += derive(load_model(None, None, CONFIGS / f"{model}.json").spec, request).variants
    return found


def _placed(root: Path, variants: list[Variant]) -> dict[str, Any]:
    """What lies in a dataset after the variants were placed; tags are a set."""
    dataset = Dataset.create(root)
    write(dataset, place(dataset, variants, refresh=False))
    found = {path: json.loads(data) for path, data in snapshot(root).items()}
    return {path: {**d, "tags": sorted(d["tags"])} for path, d in found.items()}


def test_placement_does_not_hang_on_order_and_is_done_once(
    tmp_path: Path, variants: list[Variant]
) -> None:
    """Of models that share definitions. Where two models differ in an epsilon alone, the first has
    the plain name and the other its variant's: these hang on order, and are not among them."""
    numbers = iter(range(10**9))
    wanted = _placed(tmp_path / "first", variants)
    assert 10 < len(wanted) < len(variants)

    @budget(cheap=0.2)
    @given(st.permutations(range(len(variants))))
    def check(order: list[int]) -> None:
        root = tmp_path / f"n{next(numbers) % 4}"
        for path in root.rglob("*.json"):
            path.unlink()
        mixed = [variants[at] for at in order]
        assert _placed(root, mixed) == wanted
        before = snapshot(root)
        actions = {o.action for o in place(Dataset.open(root), variants, refresh=False)}
        assert actions == {"unchanged"} and _placed(root, variants) == wanted
        assert snapshot(root) == before

    check()


@pytest.mark.parametrize("store", ["structural", "random", "all"])
def test_sanitizing_twice_adds_nothing(tmp_path: Path, store: str) -> None:
    dataset = Dataset.create(tmp_path)
    spec = load_model(None, None, DEMO / "config.json").spec
    request = Request(op_types=("rmsnorm", "gemm", "gqa_paged", "gqa_ragged", "sampling"))
    for variant in derive(spec, request).variants:
        dataset.write_definition(variant.definition)
    everything = list(dataset.definitions().values())
    dump = ROOT / "tests" / "fixtures" / "recordings" if store == "all" else DEMO / "dump"
    first = sanitize(dump, dataset, everything, Settings(store=store))
    before = snapshot(tmp_path)
    assert any(path.startswith("workloads") for path in before)
    again = sanitize(dump, dataset, everything[::-1], Settings(store=store))
    assert snapshot(tmp_path) == before
    assert {d.name for d in again.definitions} == {d.name for d in first.definitions}


def test_files_of_the_samples_are_what_the_models_write(tmp_path: Path) -> None:
    """The store's own round trip, for both samples."""
    dataset = Dataset.create(tmp_path)
    for definition in (NORM, PAGED):
        assert dataset.write_definition(definition) and not dataset.write_definition(definition)
        path = dataset.definition_path(definition)
        assert load_json(Definition, path).value == definition
