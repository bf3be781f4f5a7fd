"""Guarded programs: ended whole, whatever they and their owner do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from kernelkit.capture.processes.group import Group
from kernelkit.errors import DeadlineError

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"

# Starts a worker in a session of its own that ignores SIGTERM, as a stubborn server would.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = ("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
          "print('worker up', flush=True); time.sleep(60)")
child = subprocess.Popen([sys.executable, "-c", worker], start_new_session=True)
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(float(sys.argv[2]))
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def wait_for(path: Path) -> list[int]:
    for _ in range(200):
        if path.exists() and len(path.read_text().split()) == 2:
            return [int(part) for part in path.read_text().split()]
        time.sleep(0.05)
    raise AssertionError("the program did not start")


def stubborn(tmp_path: Path, seconds: float) -> Group:
    command = [sys.executable, "-c", STUBBORN, str(tmp_path / "pids"), str(seconds)]
    return Group(command, log=tmp_path / "log", grace_s=0.3)


def test_stopping_ends_what_ignores_it_and_what_left_the_group(tmp_path: Path) -> None:
    with stubborn(tmp_path, 60):
        pids = wait_for(tmp_path / "pids")
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)


def test_a_program_that_ends_leaves_no_worker(tmp_path: Path) -> None:
    with stubborn(tmp_path, 0.3) as group:
        assert group.wait(20) == 0
        pids = wait_for(tmp_path / "pids")
    assert not any(alive(pid) for pid in pids)


def test_a_killed_owner_takes_the_program_with_it(tmp_path: Path) -> None:
    owner = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(SCRIPTS)!r})
        from pathlib import Path
        from kernelkit.capture.processes.group import Group
        command = [sys.executable, "-c", {STUBBORN!r}, {str(tmp_path / "pids")!r}, "60"]
        group = Group(command, log=Path({str(tmp_path / "log")!r}), grace_s=0.3)
        time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", owner]) as process:
        pids = wait_for(tmp_path / "pids")
        process.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError(f"left behind: {[pid for pid in pids if alive(pid)]}")


def test_exit_codes_and_output_come_through(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('hello'); raise SystemExit(7)"]
    with Group(command, log=tmp_path / "log") as group:
        assert group.wait(20) == 7
        assert group.output() == "hello\n"
    with Group(["/no/such/program"], log=tmp_path / "log") as group:
        assert group.wait(20) == 127
        assert "cannot start" in group.output()
    killed = [sys.executable, "-c", f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"]
    with Group(killed, log=tmp_path / "log") as group:
        assert group.wait(20) == 128 + signal.SIGKILL


def test_a_deadline_is_an_error_and_the_program_is_ended(tmp_path: Path) -> None:
    with pytest.raises(DeadlineError, match="did not end"), stubborn(tmp_path, 60) as group:
        pids = wait_for(tmp_path / "pids")
        group.wait(0.2)
    assert not any(alive(pid) for pid in pids)


def test_the_environment_is_the_one_given(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['MARK'])"]
    env = {**os.environ, "MARK": "here"}
    with Group(command, log=tmp_path / "log", env=env) as group:
        assert (group.wait(20), group.output()) == (0, "here\n")
