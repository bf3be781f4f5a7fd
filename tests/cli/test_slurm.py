"""The batch script for SLURM, with stand-ins for SLURM and Ray that run on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "templates" / "slurm_ray.sbatch"
STAND_IN = Path(__file__).with_name("slurm_stand_in.py")
# `ray start --block` as far as the script sees it: a head that listens, nodes, an end by a signal.
START = """
import os, signal, socket, sys
words = sys.argv[1:]
kind = "head" if "--head" in words else "node"
def say(text):
    with open(os.environ["RAY_LOG"], "a") as log:
        print(kind, text, file=log)
def end(*_):
    say("ended")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
nodes = os.environ.get("NODES", "")
if kind == "node" and nodes == "broken":
    sys.exit("no way to the head")
if kind == "head":
    port = next(int(w.partition("=")[2]) for w in words if w.startswith("--port="))
    listening = socket.create_server(("127.0.0.1", port))
if kind == "node" and nodes == "slow":
    signal.pause()
say("started" if os.environ["RAY_AUTH_MODE"] == "token" and os.environ["RAY_AUTH_TOKEN"] else "?")
while True:
    signal.pause()
"""
RAY = """
import os
def init(**_): pass
def is_initialized(): return False
def nodes():
    return [{"Alive": True} for line in open(os.environ["RAY_LOG"]) if "started" in line]
def cluster_resources(): return {"GPU": 24.0}
"""
BENCH = """
import os, sys, time
open(os.environ["RAY_LOG"], "a").write("bench " + " ".join(sys.argv[1:]) + "\\n")
time.sleep(float(os.environ.get("BENCH_SECONDS", 0)))
sys.exit(7)
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The variables of a job with three nodes, and its stand-ins."""
    programs = tmp_path / "bin"
    programs.mkdir()
    text = STAND_IN.read_text(encoding="utf-8").partition("\n")[2]
    for name in ("srun", "scontrol", "hostname"):
        (programs / name).write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        (programs / name).chmod(0o755)
    package = tmp_path / "packages" / "ray" / "scripts"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text(RAY, encoding="utf-8")
    (package / "__init__.py").touch()
    (tmp_path / "packages" / "torch.py").touch()
    (package / "scripts.py").write_text(START, encoding="utf-8")
    pack = tmp_path / "the pack" / "scripts"
    pack.mkdir(parents=True)
    (pack / "bench.py").write_text(BENCH, encoding="utf-8")
    (tmp_path / "ray.log").touch()
    return {
        **os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path / "packages"), "PYTHON": sys.executable,
        "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "n1,n2,n3",
        "SLURM_SUBMIT_DIR": str(pack.parent), "STAND_IN_LOG": str(tmp_path / "calls"),
        "RAY_LOG": str(tmp_path / "ray.log"), "JOIN_SECONDS": "30",
    }  # fmt: skip


def _run(job: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(SCRIPT), *words], env=job, capture_output=True, text=True,
                          timeout=60)  # fmt: skip


def _lines(job: dict[str, str]) -> list[str]:
    return Path(job["RAY_LOG"]).read_text(encoding="utf-8").splitlines()


def test_ray_starts_the_benchmark_runs_and_all_ends(job: dict[str, str]) -> None:
    done = _run(job, "--dataset", "a folder", "--resume")
    assert done.returncode == 7, done.stderr  # the benchmark's own
    assert "3 nodes: 24 GPUs" in done.stderr
    lines = _lines(job)
    assert lines[0] == "head started"
    assert lines.count("node started") == 2
    port = 20000 + os.getpid() % 20000
    assert (
        lines[3] == f"bench --engine ray --ray-address 127.0.0.1:{port} --dataset a folder --resume"
    )
    assert lines[4:] == ["node ended", "node ended", "head ended"]
    calls = Path(job["STAND_IN_LOG"]).read_text(encoding="utf-8").splitlines()
    steps = sorted(call.partition("--nodelist=")[2][:2] for call in calls if call[:4] == "srun")
    assert steps == ["n1", "n2", "n3"]


def test_one_node_needs_no_other(job: dict[str, str]) -> None:
    done = _run({**job, "SLURM_JOB_NODELIST": "n1"}, "--dataset", "x")
    assert done.returncode == 7, done.stderr
    assert [line.split()[0] for line in _lines(job)] == ["head", "bench", "head"]


def test_a_node_that_cannot_join_ends_the_job_at_once(job: dict[str, str]) -> None:
    done = _run({**job, "NODES": "broken"}, "--dataset", "x")
    assert done.returncode == 1
    assert "no way to the head" in done.stderr
    assert "error: Ray has ended on a node before all had joined" in done.stderr
    assert _lines(job) == ["head started", "head ended"]


def test_nodes_that_do_not_join_in_time_end_the_job(job: dict[str, str]) -> None:
    done = _run({**job, "NODES": "slow", "JOIN_SECONDS": "3"}, "--dataset", "x")
    assert done.returncode == 1
    assert "error: 1 of 3 nodes have joined within 3 s" in done.stderr
    assert sorted(_lines(job)) == ["head ended", "head started", "node ended", "node ended"]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"PYTHON": "no/such/python"}, 3, "no such program on n1: PYTHON=no/such/python"),
        ({"PYTHON": "bare"}, 3, "lacks ray: pip install"),
        ({"KERNELKIT": "no/such/folder", "PYTHON": "lone"}, 3, "no scripts/bench.py in no/such"),
        ({"SLURM_ARRAY_TASK_COUNT": "2"}, 2, "--nodes instead of --array"),
    ],
)
def test_what_cannot_work_is_told_before_anything_starts(
    job: dict[str, str], change: dict[str, str], code: int, message: str
) -> None:
    for name, text in (
        ("bare", 'exec "$PYTHON_HERE" -S -E "$@"'),  # an interpreter without packages
        ("lone", '[ "$1 $2" != "-m kernelkit" ] && exec "$PYTHON_HERE" "$@"'),  # without the pack
    ):
        program = Path(job["STAND_IN_LOG"]).parent / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    job["PYTHON_HERE"] = sys.executable
    done = _run({**job, **change}, "--dataset", "x")
    assert done.returncode == code
    assert message in done.stderr and "Traceback" not in done.stderr
    assert _lines(job) == []


def test_a_cancelled_job_ends_what_it_started(job: dict[str, str]) -> None:
    process = subprocess.Popen(["bash", str(SCRIPT)], env={**job, "BENCH_SECONDS": "50"})
    deadline = time.monotonic() + 40
    while not any(line.startswith("bench") for line in _lines(job)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert sorted(_lines(job)[-3:]) == ["head ended", "node ended", "node ended"]
