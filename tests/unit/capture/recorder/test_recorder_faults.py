"""The recorder where things go wrong: kills, full disks, bounds, broken settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelkit.capture.recorder.settings import Settings, environment
from kernelkit.capture.recording import Recording, find

pytest.importorskip("torch")

DECODE = "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper"
NORM = "flashinfer.norm.rmsnorm"
Run = Callable[..., subprocess.CompletedProcess[str]]
Read = Callable[[], Recording]

STEPS = Path(__file__).with_name("steps.py.txt").read_text(encoding="utf-8")


def test_a_killed_process_loses_little(tmp_path: Path, packages: Path) -> None:
    Settings(str(tmp_path / "out"), {NORM: []}).write(tmp_path / "s.json")
    base = {**os.environ, "PYTHONPATH": str(packages)}
    program = """
        import flashinfer, time, torch
        for rows in range(1, 10**6):
            flashinfer.rmsnorm(torch.zeros(rows, 4), torch.ones(4))
            print(rows, flush=True)
            time.sleep(0.01)
    """
    made = 0
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**base, **environment(tmp_path / "s.json", base)}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout or []:
            made = int(line)
            if made == 150:
                process.send_signal(signal.SIGKILL)
    (path,) = find(tmp_path / "out")
    recording = Recording.open(path)
    assert len(list(recording.calls())) >= made - 100  # a second of calls, at 10 ms each
    assert not [e for e in recording.events if e.kind == "closed"]


def test_memory_and_contents_have_bounds_and_say_so(run_recorded: Run, read: Read) -> None:
    program = STEPS + "\nfor i in range(30): go(2, i)"
    assert run_recorded(program, [DECODE], max_contents_per_form=10).returncode == 0
    found = read()
    plans = [c for c in found.calls() if c.api.method == "plan"]
    assert len(plans) == 10
    dropped = {}
    for event in found.events:
        if event.kind == "dropped":
            reason = event.detail["reason"]
            dropped[reason] = dropped.get(reason, 0) + event.detail["count"]
    assert dropped == {"contents_per_form": 20, "plan_dropped": 80}


def test_a_full_disk_ends_the_recording_and_not_the_process(run_recorded: Run, read: Read) -> None:
    limit = """
    import resource, signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    """
    loop = """
    import time
    for i in range(4000):
        go(2 + i % 7, i)
        if i % 400 == 0: time.sleep(0.2)
    print("alive")
    """
    done = run_recorded(textwrap.dedent(limit) + STEPS + textwrap.dedent(loop),
                        [DECODE, NORM])  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "alive\n")
    assert done.stderr.count("recording ends") == 1
    found = read()
    assert found.problems == []
    assert len(list(found.calls())) > 5


def test_a_broken_settings_file_does_not_break_the_process(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    base = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(
        [sys.executable, "-c", "import flashinfer; print(flashinfer.__version__)"],
        env={**base, **environment(tmp_path / "bad.json", base)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "0.6.12\n")
    assert "kernelkit recorder" in done.stderr
