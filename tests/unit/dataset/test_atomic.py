"""Writers that run at once, are killed, or find odd files: readers never see a part."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelkit.dataset import atomic
from kernelkit.dataset.store import Dataset
from kernelkit.ops import family

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
WRITERS, EACH = 4, 25
APPEND = """
import sys
from pathlib import Path
from kernelkit.dataset import atomic
for n in range(int(sys.argv[3])):
    atomic.append_lines(Path(sys.argv[1]), [f'["{sys.argv[2]}", {n}, "a"]', f'["b"]'])
"""
REPLACE = """
import itertools, sys
from pathlib import Path
from kernelkit.dataset import atomic
for n in itertools.count():
    atomic.write_text(Path(sys.argv[1]), '[' + ','.join([str(n)] * 5000) + ']')
"""
APPEND_FOR_EVER = """
import itertools, sys
from pathlib import Path
from kernelkit.dataset import atomic
for n in itertools.count(int(sys.argv[2])):
    atomic.append_lines(Path(sys.argv[1]), [str(n)] * 3)
    print(n, flush=True)
"""


def start(code: str, *words: object) -> subprocess.Popen[str]:
    """A writer in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill(process: subprocess.Popen[str]) -> str:
    """SIGKILL; what it had printed."""
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


def test_appends_at_the_same_time_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    processes = [start(APPEND, path, writer, EACH) for writer in range(WRITERS)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for writer in range(WRITERS):
        assert [n for who, *rest in lines if who == str(writer) for n in rest[:1]] == list(
            range(EACH)
        )
    pairs = zip(lines[::2], lines[1::2], strict=True)
    assert all(len(first) == 3 and second == ["b"] for first, second in pairs), "a pair was cut"


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "whole.json"
    process = start(REPLACE, path)
    try:
        seen: set[int] = set()
        end = time.monotonic() + 60
        while len(seen) < 20 and time.monotonic() < end:
            if path.exists():
                values = json.loads(path.read_text())
                assert len(values) == 5000 and len(set(values)) == 1
                seen.add(values[0])
    finally:
        kill(process)
    assert len(seen) == 20


def test_kills_lose_no_line_that_was_reported(tmp_path: Path) -> None:
    """Twenty kills of an appender: what it called written is there, in order, whole."""
    path, rng, done = tmp_path / "lines.jsonl", random.Random(3), 0
    for _ in range(20):
        process = start(APPEND_FOR_EVER, path, done)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.uniform(0, 0.03))
        reported = [int(first), *map(int, kill(process).split())]
        kept = [int(line) for line in path.read_text().splitlines()]
        assert len(kept) % 3 == 0 and kept[::3] == kept[1::3] == kept[2::3]
        assert kept[::3] == list(range(len(kept) // 3))
        assert len(kept) // 3 > reported[-1]
        done = len(kept) // 3
    assert done > 20


def test_what_a_kill_leaves_is_read_by_nobody(dataset: Dataset) -> None:
    norm = family("rmsnorm").definition(64, 1e-6)
    dataset.write_definition(norm)
    left = dataset.definition_path(norm).with_name(f"x.json{atomic.TEMPORARY_SUFFIX}")
    left.write_text('{"cut')
    assert list(dataset.definitions()) == [norm.name]


def test_the_same_text_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    assert atomic.write_text(path, "äöü\n") is True
    before = path.stat()
    assert atomic.write_text(path, "äöü\n") is False
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert atomic.write_text(path, "äöü!") is True and path.read_bytes() == "äöü!".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_no_lines_make_no_file(tmp_path: Path) -> None:
    atomic.append_lines(tmp_path / "folder" / "x.jsonl", [])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError):
        atomic.write_text(tmp_path / "x.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_a_kill_leaves_is_gone_after_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    left = tmp_path / f"x.json{atomic.TEMPORARY_SUFFIX}"
    left.write_text("a long text, of which a kill left the beginning")
    assert atomic.write_text(path, "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.json", "new")]


def test_kills_leave_one_temporary_file_at_most(tmp_path: Path) -> None:
    path, rng = tmp_path / "whole.json", random.Random(5)
    for _ in range(12):
        process = start(REPLACE, path)
        while not path.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        kill(process)
        assert len(list(tmp_path.iterdir())) <= 2
    atomic.write_text(path, "[]")
    assert list(tmp_path.iterdir()) == [path]


def test_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "whole.json"
    processes = [start(REPLACE, path) for _ in range(3)]
    end = time.monotonic() + 2
    reads = 0
    while time.monotonic() < end:
        assert all(process.poll() is None for process in processes), "a writer failed"
        if path.exists():
            values = json.loads(path.read_text())
            assert len(values) == 5000 and len(set(values)) == 1
            reads += 1
    for process in processes:
        kill(process)
    assert reads > 10


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / f"x.json{atomic.TEMPORARY_SUFFIX}").symlink_to(precious)
    with pytest.raises(OSError):
        atomic.write_text(tmp_path / "x.json", "text")
    assert precious.read_text() == "kept"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    assert atomic.write_text(tmp_path / "x.json", "text")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x.json", "text")]
