"""The recorder's files give the same workloads as a level-10 dump of the same run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from kernelkit.capture.recording_writer import RecordingWriter
from kernelkit.capture.sanitize import calls, level10, pipeline, recordings
from kernelkit.capture.sanitize.calls import Call, TensorArg, Unusable
from kernelkit.capture.sanitize.matching import Matcher
from kernelkit.capture.sanitize.pipeline import Settings
from kernelkit.capture.sanitize.reading import Reading
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset

HEADER = {
    "model": "llama-3.1-8b", "weights": "dummy", "rank": 3,
    "versions": {"sglang": "0.5.14", "flashinfer": "0.6.12"},
}  # fmt: skip
KEPT = ("int32", "int64")
EVERYTHING = Settings(most=None, per_axes=None)


def _record(found: Iterable[Call], path: Path, attributes: dict[str, Any]) -> None:
    """The calls of a dump as a recorder would have written them: float tensors without data."""
    writer = RecordingWriter(path, HEADER, max_bytes=1 << 24)
    plans: dict[int | None, int | None] = {}
    for step, call in enumerate(found):
        given = {name: value for name, value in call.arguments.items() if name != "self"}
        api = writer.api(
            {"p": f"flashinfer.x.{call.api}", "m": call.method, "s": "", "n": list(given), "d": {}}
        )
        blobs = {
            name: writer.blob(value.read().data)
            for name, value in given.items()
            if isinstance(value, TensorArg) and (value.dtype in KEPT or name == "top_p")
        }
        form = writer.form(api, {name: _encoded(value) for name, value in given.items()})
        document: dict[str, Any] = {"f": form, "b": blobs, "s": step, "l": 0}
        if call.method == "run":
            document |= {"p": plans.get(call.wrapper), "k": attributes}
        number = writer.call(document)
        if call.method == "plan":
            plans[call.wrapper] = number
    writer.close()


def _encoded(value: Any) -> Any:
    if isinstance(value, TensorArg):
        return {"t": [list(value.shape), value.dtype, [], "cuda"]}
    if isinstance(value, tuple):
        return {"u": [_encoded(item) for item in value]}
    return {"o": value["type"]} if isinstance(value, dict) else value


@pytest.fixture
def recorded(bundled: Path, tmp_path: Path) -> Path:
    """The bundled dump's calls in the recorder's form, up to the last run of each wrapper."""
    found = list(level10.read_calls(level10.look(bundled).folders, bundled))
    made = [call for call in found if isinstance(call, Call)]
    folder = tmp_path / "recorded"
    _record(made, folder / "rank3" / "a.kkrec", {"sm_scale": 128**-0.5, "causal": True})
    return folder


def _workloads(root: Path, dump: Path, definitions: list[Definition]) -> dict[str, set[str]]:
    dataset = Dataset.create(root)
    for definition in definitions:
        dataset.write_definition(definition)
    pipeline.sanitize(dump, dataset, definitions, EVERYTHING)
    found: dict[str, set[str]] = {}
    for line in dataset.load_workloads():
        assert line.value is not None
        found.setdefault(line.value.definition, set()).add(line.value.workload.uuid)
    return found


def test_the_same_run_gives_the_same_workloads(
    bundled: Path, recorded: Path, llama: list[Definition], tmp_path: Path
) -> None:
    ours = _workloads(tmp_path / "a", recorded, llama)
    theirs = _workloads(tmp_path / "b", bundled, llama)
    decode = "gqa_paged_decode_h32_kv8_d128_ps1"
    assert len(ours) == 9
    # The dump has three plans behind its limit of calls; what runs was recorded has one.
    assert ours.pop(decode) < theirs.pop(decode)
    assert ours == theirs


def test_a_recorder_knows_what_a_dump_assumes(
    recorded: Path, llama: list[Definition], tmp_path: Path
) -> None:
    _workloads(tmp_path / "a", recorded, llama)
    dataset = Dataset.open(tmp_path / "a")
    (line,) = dataset.workloads_of(
        dataset.find_definition("gqa_ragged_prefill_causal_h32_kv8_d128")
    )
    provenance = line.workload.provenance
    assert provenance is not None and provenance.assumed is None
    assert provenance.to_json() == {
        "source": "recording", "model": "llama-3.1-8b", "sglang_version": "0.5.14",
        "flashinfer_version": "0.6.12", "weights": "dummy", "rank": 3,
        "step": provenance.step, "call": provenance.call,
    }  # fmt: skip
    assert provenance.call is not None and provenance.call.startswith("rank3/a.kkrec:")


def test_a_torn_file_gives_what_it_holds(recorded: Path) -> None:
    (path,) = recorded.rglob("*.kkrec")
    whole = [c for c in recordings.read_calls(path, recorded) if isinstance(c, Call)]
    path.write_bytes(path.read_bytes()[:-40])
    found = list(recordings.read_calls(path, recorded))
    torn = [item for item in found if isinstance(item, Unusable)]
    assert torn and {item.kind for item in torn} == {calls.DAMAGED}
    assert 0 < len(found) - len(torn) < len(whole) + 1


def test_what_the_recorder_left_out_is_told(tmp_path: Path) -> None:
    path = tmp_path / "some.kkrec"
    writer = RecordingWriter(path, {}, max_bytes=1 << 20)
    writer.event("thinned", reason="thinned", count=7)
    writer.event("dropped", reason="memory", count=2)
    writer.event("closed", calls=0)
    writer.close()
    found = [i for i in recordings.read_calls(path, tmp_path) if isinstance(i, calls.LeftOut)]
    assert [(item.why.split(":")[1][:20], item.count) for item in found] == [
        (" of a long row of li", 7), (" more waited to be w", 2),
    ]  # fmt: skip
    reading = Reading(Matcher([]), strict=True, store="random")
    for item in found:
        reading.take(item)
    assert list(reading.outcome.notes.values()) == [7, 2]


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.kkrec"
    path.write_bytes(b"not one")
    (item,) = recordings.read_calls(path, tmp_path)
    assert isinstance(item, Unusable)
    assert (item.kind, item.place) == (calls.DAMAGED, "x.kkrec")
