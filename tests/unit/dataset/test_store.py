"""Opening, reading and writing a dataset; writes that are whole or not there."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelkit.dataset import atomic
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import LFS_MAGIC, Dataset, load_json, load_jsonl
from kernelkit.dataset.trace import Trace
from kernelkit.errors import FormatError, UsageError
from kernelkit.ops import family

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
NORM = family("rmsnorm").definition(64, 1e-6)


def test_open_needs_a_dataset(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError, match="dataset folder"):
            Dataset.open(path)
    assert not (tmp_path / "absent").exists()
    assert Dataset.open(Dataset.create(tmp_path / "new").root).root == tmp_path / "new"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError):
        Dataset.create(tmp_path / "file")


def test_prepare_makes_nothing_on_a_dry_run(tmp_path: Path) -> None:
    Dataset.prepare(tmp_path / "x", create=True, dry_run=True)
    assert not (tmp_path / "x").exists()
    assert Dataset.prepare(None, create=False, dry_run=True).definitions() == {}
    for root in (None, tmp_path / "x"):
        with pytest.raises(UsageError):
            Dataset.prepare(root, create=False, dry_run=False)


def test_a_definition_survives_a_round_trip(dataset: Dataset) -> None:
    assert dataset.write_definition(NORM) is True
    assert dataset.write_definition(NORM) is False
    document = json.loads(dataset.definition_path(NORM).read_text())
    assert document["axes"]["hidden_size"] == {"type": "const", "value": 64}
    assert dataset.find_definition("rmsnorm_h64") == NORM
    with pytest.raises(UsageError, match="rmsnorm_h64"):
        dataset.find_definition("rmsnorm_h46")


def test_unknown_keys_and_null_shapes_are_kept() -> None:
    document = {
        "name": "x", "op_type": "y", "axes": {"n": {"type": "var", "unit": "rows"}},
        "inputs": {"a": {"shape": ["n"], "dtype": "int32"},
                   "s": {"shape": None, "dtype": "float32", "role": "scale"}},
        "outputs": {"b": {"shape": ["n"], "dtype": "int32"}},
        "reference": "def run(a, s):\n    return a\n", "since": 3,
    }  # fmt: skip
    plain = Definition.model_validate(document).to_json()
    assert plain["since"] == 3 and plain["axes"]["n"]["unit"] == "rows"
    assert plain["inputs"]["s"] == {"shape": None, "dtype": "float32", "role": "scale"}
    assert list(plain["inputs"]["a"]) == ["shape", "dtype"]


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "a\\b", "/etc", "a\0b"])
def test_names_cannot_leave_the_dataset(dataset: Dataset, part: str) -> None:
    for changed in ({"op_type": part}, {"name": part}):
        escaped = NORM.model_copy(update=changed)
        if changed == {"name": part} and part in ("..", "."):
            continue  # "...json" and "..json" are plain file names
        if changed == {"name": ""}:
            continue  # ".json", refused by the model
        with pytest.raises(FormatError, match="file name"):
            dataset.write_definition(escaped)


def test_lfs_pointers_and_cut_lines_are_named(tmp_path: Path) -> None:
    pointer = tmp_path / "pointer.json"
    pointer.write_bytes(LFS_MAGIC + b"\noid sha256:1\n")
    assert "git lfs pull" in str(load_json(Definition, pointer).error)
    lines = tmp_path / "lines.jsonl"
    good = '{"definition":"d","workload":{"uuid":"u","axes":{},"inputs":{}}}'
    lines.write_text(f"{good}\n\n{good[:20]}\n{good}\n")
    loaded = list(load_jsonl(Trace, lines))
    assert [item.line for item in loaded] == [1, 3, 4]
    assert [item.value is None for item in loaded] == [False, True, False]
    assert list(load_jsonl(Trace, tmp_path / "absent.jsonl"))[0].error


def test_ten_thousand_lines_load_in_under_a_second(tmp_path: Path) -> None:
    line = {
        "definition": "d", "solution": "s",
        "workload": {"uuid": "u", "axes": {"a": 1, "b": 2}, "inputs": {
            "q": {"type": "random"}, "s": {"type": "scalar", "value": 0.1},
            "i": {"type": "safetensors", "path": "blob/x", "tensor_key": "i"}}},
        "evaluation": {"status": "PASSED", "environment": {"hardware": "x"}, "timestamp": "t",
                       "correctness": {}, "performance": {}},
    }  # fmt: skip
    path = tmp_path / "lines.jsonl"
    path.write_text((json.dumps(line) + "\n") * 10000)
    best = float("inf")
    for _ in range(2):
        start = time.process_time()  # others on the machine do not count
        assert sum(item.value is not None for item in load_jsonl(Trace, path)) == 10000
        best = min(best, time.process_time() - start)
    assert best < 1.0


def test_a_cut_line_never_swallows_the_next(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"cut')
    atomic.append_lines(path, ['{"b": 2}', '{"c": 3}'])
    assert path.read_text().splitlines() == ['{"a": 1}', '{"cut', '{"b": 2}', '{"c": 3}']


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    atomic.write_text(path, "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


WRITER = """
import sys
from pathlib import Path
from kernelkit.dataset import atomic
folder = Path(sys.argv[1])
for n in range(100000):
    atomic.write_text(folder / "whole.json", '[' + ','.join([str(n)] * 2000) + ']')
    atomic.append_lines(folder / "lines.jsonl", ['[' + ','.join([str(n)] * 500) + ']'] * 3)
"""


def test_killed_writers_leave_files_that_parse(tmp_path: Path) -> None:
    rng = random.Random(1)
    lines = tmp_path / "lines.jsonl"
    for _ in range(12):
        before = lines.stat().st_mtime_ns if lines.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], env={"PYTHONPATH": str(SCRIPTS)}
        )
        end = time.monotonic() + 30
        while not lines.exists() or lines.stat().st_mtime_ns == before:  # it is at work
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(set(json.loads((tmp_path / "whole.json").read_text()))) == 1
        for line in lines.read_text().splitlines():
            assert len(json.loads(line)) == 500
