"""Hostile recordings and level-10 dumps: what cannot be used is said, nothing is raised."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy
import pytest
from hostile import (
    as_file,
    budget,
    changed_bytes,
    changed_document,
    hostile_json,
    refused_or_read,
    snapshot,
)
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from kernelkit.capture.frames import MAGIC, FrameReader, FrameWriter
from kernelkit.capture.recorded import TensorValue
from kernelkit.capture.recording import DIGEST_BYTES, Recording, digest_of
from kernelkit.capture.sanitize.pipeline import Settings, sanitize
from kernelkit.dataset.store import Dataset
from kernelkit.models.load import load_model
from kernelkit.ops.derivation import Request, derive

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
ASSETS = Path(__file__).resolve().parents[2] / "scripts" / "demo_assets"
RECORDING = FIXTURES / "recordings" / "gemma-2-9b.kkrec"
Frames = list[tuple[str, bytes]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return definitions_of_the_samples(tmp_path_factory.mktemp("records") / "dataset")


def definitions_of_the_samples(folder: Path) -> Dataset:
    """A dataset with the definitions that the samples of this file are calls of."""
    made = Dataset.create(folder)
    request = Request(op_types=("rmsnorm", "gqa_paged", "gqa_ragged", "sampling"))
    for config in (ASSETS / "config.json", FIXTURES / "configs" / "google__gemma-2-9b.json"):
        for variant in derive(load_model(None, None, config).spec, request).variants:
            made.write_definition(variant.definition)
    return made


def _sanitized(folder: Path, dataset: Dataset, **settings: Any) -> object:
    everything = list(dataset.definitions().values())
    asked = Settings(dry_run=True, **settings)
    return refused_or_read(lambda: sanitize(folder, dataset, everything, asked))


def test_the_samples_are_sound(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "a.kkrec").write_bytes(RECORDING.read_bytes())
    found = _sanitized(tmp_path, dataset)
    assert found is not None and found.definitions
    found = _sanitized(_call(tmp_path / "dump", json.dumps(RECORD).encode(), BLOB), dataset)
    assert found is not None and found.calls == 1


def _read_all(path: Path) -> None:
    """What every reader of a recording does."""
    recording = Recording.open(path)
    for call in recording.calls():
        for value in call.bound.values():
            if isinstance(value, TensorValue) and value.digest is not None:
                refused_or_read(lambda value=value: recording.array(value))


def test_recordings_with_changed_bytes(tmp_path: Path, dataset: Dataset) -> None:
    data = RECORDING.read_bytes()
    file = tmp_path / "a.kkrec"

    @budget()
    @given(changed_bytes(data))
    def check(data: bytes) -> None:
        file.write_bytes(data)
        refused_or_read(lambda: _read_all(file))
        _sanitized(tmp_path, dataset)

    check()
    assert snapshot(tmp_path).keys() == {"a.kkrec"}


def test_recordings_with_hostile_frames(tmp_path: Path, dataset: Dataset) -> None:
    """Checksums are right, contents are not: a flipped bit never shows this."""
    frames = [(frame.kind, frame.payload) for frame in FrameReader(RECORDING)][:40]
    file = tmp_path / "a.kkrec"

    @budget(cheap=2)
    @given(_hostile_frames(frames))
    def check(changed: Frames) -> None:
        file.unlink(missing_ok=True)
        writer = FrameWriter(file)
        for kind, payload in changed:
            writer.add(kind, payload)
        writer.close()
        refused_or_read(lambda: _read_all(file))
        _sanitized(tmp_path, dataset)

    check()


@st.composite
def _hostile_frames(draw: st.DrawFn, frames: Frames) -> Frames:
    made = list(frames)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(made) - 1))
        kind, payload = frames[at]
        if kind == "B":
            made[at] = kind, draw(changed_bytes(payload))
        else:
            made[at] = kind, draw(hostile_json(json.loads(payload)))
        if draw(st.integers(0, 4)) == 0:
            other = draw(st.integers(0, len(made) - 1))
            made[at], made[other] = made[other], made[at]
    return made


def test_a_blob_that_unpacks_to_much_more_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    """1 MiB of file must not become 1 GiB of memory."""
    raw = bytes(64 << 20)
    digest = digest_of(raw)
    tensor = {"t": [[4], "int32", [1], "cpu"]}
    file = tmp_path / "a.kkrec"
    writer = FrameWriter(file)
    writer.add("H", json.dumps({"schema_version": 1}).encode())
    api = {"i": 0, "p": "flashinfer.norm.rmsnorm", "m": "", "s": "(input)", "n": ["input"], "d": {}}
    writer.add("A", json.dumps(api).encode())
    writer.add("F", json.dumps({"i": 0, "a": 0, "v": {"input": tensor}}).encode())
    writer.add("B", digest + b"\x01" + zlib.compress(raw))
    writer.add("C", json.dumps({"n": 0, "f": 0, "b": {"input": digest.hex()}}).encode())
    writer.close()
    assert len(digest) == DIGEST_BYTES and file.read_bytes().startswith(MAGIC)
    recording = Recording.open(file)
    (call,) = recording.calls()
    assert refused_or_read(lambda: recording.array(call.bound["input"])) is None


FUNCTION = "rmsnorm"
RECORD: dict[str, Any] = {
    "function_name": FUNCTION, "process_id": 1, "graph_capture": False,
    "function_signature": "(input: torch.Tensor, weight: torch.Tensor, eps: float = 1e-06)",
    "versions": {"flashinfer": "0.6.12"}, "execution_status": "completed",
    "input_metadata": {"kwarg_eps": 1e-5},
    "tensor_details": {
        "arg_0": {"shape": [3, 4096], "dtype": "torch.bfloat16", "stride": [4096, 1]},
        "arg_1": {"shape": [4096], "dtype": "torch.bfloat16", "stride": [1]},
    },
}  # fmt: skip
BLOB = save({"arg_2": numpy.arange(4, dtype=numpy.int32)})
DECODE = "BatchDecodeWithPagedKVCacheWrapper"
PLAN: dict[str, Any] = {
    **RECORD, "function_name": f"{DECODE}.plan", "self_id": 7,
    "function_signature": "(self, indptr, indices, last_page_len, num_qo_heads: int, "
    "num_kv_heads: int, head_dim: int, page_size: int, window_left: int = -1)",
    "input_metadata": {"arg_0": {"type": DECODE, "repr": "<>"}, "arg_4": 32, "arg_5": 8,
                       "arg_6": 128, "arg_7": 1},
    "tensor_details": {
        key: {"shape": [size], "dtype": "torch.int32", "stride": [1]}
        for key, size in (("arg_1", 3), ("arg_2", 5), ("arg_3", 2))
    },
}  # fmt: skip
RUN: dict[str, Any] = {
    **RECORD, "function_name": f"{DECODE}.run", "self_id": 7,
    "function_signature": "(self, q, paged_kv_cache, *args)",
    "input_metadata": {
        "arg_0": {"type": DECODE, "repr": "<>"},
        "arg_2": {"type": "tuple", "length": 2, "items": [
            {"type": "torch.Tensor", "tensor_key": f"arg_2__{i}"} for i in range(2)]},
    },
    "tensor_details": {
        "arg_1": {"shape": [2, 32, 128], "dtype": "torch.bfloat16", "stride": []},
        **{f"arg_2__{i}": {"shape": [64, 1, 8, 128], "dtype": "torch.bfloat16", "stride": []}
           for i in range(2)},
    },
}  # fmt: skip
PLAN_BLOB = save({
    "arg_1": numpy.array([0, 2, 5], numpy.int32), "arg_2": numpy.arange(1, 6, dtype=numpy.int32),
    "arg_3": numpy.ones(2, numpy.int32),
})  # fmt: skip


def _call(root: Path, metadata: bytes, blob: bytes | None, number: int = 1) -> Path:
    """A dump folder of one call more."""
    name = f"20260101_000000_{number:03d}_pid1_f_call{number:04d}"
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.jsonl").write_bytes(metadata + b"\n")
    if blob is not None:
        (folder / "inputs.safetensors").write_bytes(blob)
    return root


def _one_changed(documents: list[dict[str, Any]]) -> st.SearchStrategy[list[bytes]]:
    plain = [json.dumps(document).encode() for document in documents]
    return st.integers(0, len(documents) - 1).flatmap(
        lambda at: hostile_json(documents[at]).map(
            lambda data: [*plain[:at], data, *plain[at + 1 :]]
        )
    )


def test_level10_records(tmp_path: Path, dataset: Dataset) -> None:
    @budget(cheap=2)
    @given(_one_changed([RECORD, PLAN, RUN]))
    def check(texts: list[bytes]) -> None:
        for number, text in enumerate(texts, start=1):
            _call(tmp_path, text, PLAN_BLOB if number == 2 else None, number)
        found = _sanitized(tmp_path, dataset, accept_incomplete=True)
        assert found is not None

    check()
    assert len(snapshot(tmp_path)) == 4


def test_a_call_without_its_tensors_is_refused_alone(tmp_path: Path, dataset: Dataset) -> None:
    """Found by guided.py: the norm's input was not in the record, and nothing else was read."""
    bare = {**RECORD, "tensor_details": {}}
    _call(tmp_path, json.dumps(bare).encode(), None, 1)
    _call(tmp_path, json.dumps(RECORD).encode(), BLOB, 2)
    found: Any = _sanitized(tmp_path, dataset, accept_incomplete=True)
    assert found.calls == 2 and [one.distinct for one in found.definitions] == [1]
    assert any("input is" in one.detail for all_of in found.unusable.values() for one in all_of)


def test_level10_tensors(tmp_path: Path, dataset: Dataset) -> None:
    length = int.from_bytes(PLAN_BLOB[:8], "little")
    header = json.loads(PLAN_BLOB[8 : 8 + length])

    def blob(document: object) -> bytes:
        text = as_file(document)
        return len(text).to_bytes(8, "little") + text + PLAN_BLOB[8 + length :]

    for number, record in enumerate((PLAN, RUN), start=1):
        _call(tmp_path, json.dumps(record).encode(), PLAN_BLOB, number)
    assert getattr(_sanitized(tmp_path, dataset), "definitions", None)

    @budget(cheap=2)
    @given(st.one_of(changed_bytes(PLAN_BLOB), changed_document(header).map(blob)))
    def check(data: bytes) -> None:
        _call(tmp_path, json.dumps(PLAN).encode(), data, 1)
        assert _sanitized(tmp_path, dataset) is not None

    check()


def test_level10_torch_files(tmp_path: Path, dataset: Dataset) -> None:
    """A pickle that would run something is refused by torch's own loader of weights."""
    torch = pytest.importorskip("torch")
    good = tmp_path / "good.pt"
    torch.save({k: torch.ones(n, dtype=torch.int32) for k, n in (("arg_1", 3), ("arg_2", 5))}, good)
    data = good.read_bytes()
    dump = tmp_path / "dump"
    _call(dump, json.dumps(PLAN).encode(), None, 1)
    _call(dump, json.dumps(RUN).encode(), PLAN_BLOB, 2)
    (folder,) = dump.glob("*_001_*")

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "outside",))

    torch.save({"arg_1": Runs()}, folder / "inputs.pt")
    assert _sanitized(dump, dataset) is not None
    assert not (tmp_path / "outside").exists()

    @budget()
    @given(changed_bytes(data))
    def check(data: bytes) -> None:
        (folder / "inputs.pt").write_bytes(data)
        assert _sanitized(dump, dataset) is not None

    check()
