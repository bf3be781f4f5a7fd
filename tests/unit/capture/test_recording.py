"""The recorder's file format: what is written is read, and a torn or damaged file says so."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from pathlib import Path

import numpy
import pytest

from kernelkit.capture.frames import MAGIC
from kernelkit.capture.recorded import DtypeValue, TensorValue
from kernelkit.capture.recording import Call, Recording, find
from kernelkit.capture.recording_writer import RecordingWriter
from kernelkit.errors import FormatError

PLAN = {
    "p": "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper",
    "m": "plan",
    "s": "(self, indptr, indices, num_qo_heads, q_data_type='float16')",
    "n": ["indptr", "indices", "num_qo_heads", "q_data_type"],
    "d": {"q_data_type": "float16"},
}
INDPTR = numpy.array([0, 3, 5], dtype=numpy.int32)


def tensor(array: numpy.ndarray) -> dict[str, list]:
    return {"t": [list(array.shape), str(array.dtype), [1], "cpu"]}


def write_plan(writer: RecordingWriter, indptr: numpy.ndarray, step: int) -> int | None:
    arguments = {"indptr": tensor(indptr), "num_qo_heads": 32, "q_data_type": {"d": "bfloat16"}}
    form = writer.form(writer.api(PLAN), arguments)
    blob = writer.blob(indptr.tobytes())
    return writer.call({"f": form, "b": {"indptr": blob}, "o": 1, "s": step, "t": 5})


def new_writer(folder: Path, **options: int) -> RecordingWriter:
    header = {"model": "m", "process": {"pid": os.getpid()}}
    return RecordingWriter(folder / "a.kkrec", header, max_bytes=options.get("max_bytes", 1 << 20))


def write_two_steps(folder: Path) -> Path:
    writer = new_writer(folder)
    assert write_plan(writer, INDPTR, step=1) == 0
    assert write_plan(writer, INDPTR, step=2) == 0
    assert write_plan(writer, INDPTR + 1, step=3) == 1
    writer.event("closed", calls=3)
    writer.close()
    return writer.path


def test_a_call_is_read_as_it_was_written(tmp_path: Path) -> None:
    recording = Recording.open(write_two_steps(tmp_path))
    first, second = recording.calls()
    assert recording.problems == []
    assert recording.header["model"] == "m"
    assert recording.events[-1].kind == "closed"
    assert (first.number, first.count, first.step, first.last_step) == (0, 2, 1, 2)
    assert (first.api.name, first.api.method) == ("BatchDecodeWithPagedKVCacheWrapper", "plan")
    assert first.arguments["q_data_type"] == DtypeValue("bfloat16")
    indptr = first.arguments["indptr"]
    assert isinstance(indptr, TensorValue)
    assert (indptr.shape, indptr.dtype) == ((3,), "int32")
    numpy.testing.assert_array_equal(recording.array(indptr), INDPTR)
    numpy.testing.assert_array_equal(recording.array(second.arguments["indptr"]), INDPTR + 1)


def test_defaults_fill_what_was_not_given(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.call({"f": writer.form(writer.api(PLAN), {"num_qo_heads": 4})})
    writer.close()
    (call,) = Recording.open(writer.path).calls()
    assert call.bound == {"q_data_type": "float16", "num_qo_heads": 4}


def test_an_equal_blob_is_written_once(tmp_path: Path) -> None:
    big = numpy.arange(50_000, dtype=numpy.int64)
    writer = new_writer(tmp_path, max_bytes=1 << 30)
    write_plan(writer, big, step=1)
    once = writer.size_bytes
    form = writer.form(0, {"indptr": tensor(big), "num_qo_heads": 8})
    writer.call({"f": form, "b": {"indptr": writer.blob(big.tobytes())}})
    writer.close()
    assert writer.size_bytes - once < 500
    assert len(list(Recording.open(writer.path).calls())) == 2


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_tail_is_dropped_and_reported(tmp_path: Path, cut: int) -> None:
    path = write_two_steps(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    recording = Recording.open(path)
    assert len(list(recording.calls())) >= 1
    assert any("torn tail" in problem for problem in recording.problems)


def test_every_cut_of_a_file_is_readable(tmp_path: Path) -> None:
    path = write_two_steps(tmp_path)
    whole = path.read_bytes()
    counts = []
    for length in range(len(MAGIC), len(whole) + 1):
        path.write_bytes(whole[:length])
        counts.append(len(list(Recording.open(path).calls())))
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 2)


def test_a_damaged_blob_leaves_out_only_its_calls(tmp_path: Path) -> None:
    path = write_two_steps(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(INDPTR.tobytes()) + 4] ^= 0xFF
    path.write_bytes(data)
    recording = Recording.open(path)
    (left,) = recording.calls()
    assert left.number == 1
    assert any("damaged frame" in problem for problem in recording.problems)
    assert any("call 0 is left out" in problem for problem in recording.problems)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.kkrec"
    path.write_bytes(b"hello, this is no recording")
    with pytest.raises(FormatError, match="not a recording"):
        Recording.open(path)


def test_the_limit_stops_new_calls_and_still_counts_old_ones(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, max_bytes=1500)
    numbers = [write_plan(writer, INDPTR + i, step=i) for i in range(50)]
    assert numbers[-1] is None
    assert write_plan(writer, INDPTR, step=99) == 0
    writer.close()
    recording = Recording.open(writer.path)
    assert [event.kind for event in recording.events] == ["limit"]
    assert writer.path.stat().st_size < 2500
    assert next(recording.calls()).count == 2


def fill_disk(folder: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = RecordingWriter(Path(folder) / "full.kkrec", {}, max_bytes=1 << 30)
    try:
        for step in range(10_000):
            write_plan(writer, numpy.random.default_rng(step).integers(0, 9, 64), step)
            writer.flush()
    except OSError:
        os._exit(7)
    os._exit(0)


def test_a_full_disk_leaves_a_whole_file(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=fill_disk, args=(str(tmp_path),))
    process.start()
    process.join(30)
    assert process.exitcode == 7
    (path,) = find(tmp_path)
    recording = Recording.open(path)
    assert recording.problems == []
    calls: list[Call] = list(recording.calls())
    assert len(calls) > 20
    assert path.stat().st_size <= 20_000


def test_nan_and_infinity_survive(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.call({"f": writer.form(writer.api(PLAN), {"a": float("inf"), "b": float("nan")})})
    writer.close()
    (call,) = Recording.open(writer.path).calls()
    assert call.arguments["a"] == float("inf")
    assert call.arguments["b"] != call.arguments["b"]
