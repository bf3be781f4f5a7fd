"""Reservations of GPUs, on a host whose nvidia-smi is a program of this test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import gpu_lock
from kernelkit.capture.gpus import devices
from kernelkit.errors import MissingDependencyError, UsageError

SCRIPT = Path(__file__).resolve().parents[4] / "scripts" / "gpu_lock.py"
PLAIN = "0, GPU-aaa, NVIDIA H200, 12, 143771\n1, GPU-bbb, NVIDIA H200, 90000, 143771\n" \
        "2, GPU-ccc, NVIDIA H200, 0, 143771\n"  # fmt: skip
LISTING = "GPU 0: NVIDIA H200 (UUID: GPU-aaa)\nGPU 1: NVIDIA H200 (UUID: GPU-bbb)\n" \
          "GPU 2: NVIDIA H200 (UUID: GPU-ccc)\n"  # fmt: skip
MIG = LISTING.replace(
    "GPU 2",
    "  MIG 3g.71gb     Device  0: (UUID: MIG-1)\n  MIG 1g.18gb     Device  1: (UUID: MIG-2)\nGPU 2",
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put an nvidia-smi on the path that prints these texts."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("KERNELKIT_GPU_LOCKS", str(tmp_path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(rows: str = PLAIN, listing: str = LISTING) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\n[ "$1" = -L ] && cat <<X || cat <<Y\n{listing}X\n{rows}Y\n')
        program.chmod(0o755)

    make()
    return make


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def states(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert gpu_lock.main(["--status", "--json"]) == 0
    return [gpu["state"] for gpu in json.loads(capsys.readouterr().out)["gpus"]]


SHOW = [sys.executable, "-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"]


def test_a_busy_gpu_is_passed_over(host: object, capfd: pytest.CaptureFixture[str]) -> None:
    assert gpu_lock.main(["--gpus", "2", "--", *SHOW]) == 0
    assert capfd.readouterr().out == "GPU-aaa,GPU-ccc\n"
    assert states(capfd) == ["free", "busy", "free"]


def test_a_reserved_gpu_goes_to_nobody_else(
    host: object, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sleep = "import time; print('up', flush=True); time.sleep(60)"
    with started("--gpus", "1", "--", sys.executable, "-c", sleep) as first:
        assert first.stdout is not None and first.stdout.readline() == "up\n"
        assert states(capfd) == ["reserved", "busy", "free"]
        assert gpu_lock.main(["--", *SHOW]) == 0
        assert capfd.readouterr().out == "GPU-ccc\n"
        assert gpu_lock.main(["--gpus", "2", "--wait-timeout", "0.2", "--", "true"]) == 5
        assert "got free" in capfd.readouterr().err
        first.send_signal(signal.SIGKILL)
    for _ in range(100):
        if states(capfd)[0] == "free":
            return
        time.sleep(0.1)
    raise AssertionError("the reservation outlived its owner")


def test_the_time_is_up(host: object, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mark = tmp_path / "grandchild"
    child = (
        "import subprocess, sys, time; "
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True); "
        f"open({str(mark)!r}, 'w').write(str(c.pid)); time.sleep(60)"
    )
    arguments = ["--exec-timeout", "2", "--", sys.executable, "-c", child]
    assert gpu_lock.main(arguments) == 5
    assert "--exec-timeout" in capfd.readouterr().err
    state = Path(f"/proc/{mark.read_text()}/stat")
    assert not state.exists() or " Z " in state.read_text()
    assert states(capfd)[0] == "free"


def test_the_command_s_exit_code_is_ours(host: object) -> None:
    assert gpu_lock.main(["--", sys.executable, "-c", "raise SystemExit(9)"]) == 9


def test_what_the_caller_sees_is_respected(
    host: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert gpu_lock.main(["--", *SHOW]) == 0
    assert capfd.readouterr().out == "GPU-ccc\n"
    assert gpu_lock.main(["--gpus", "3", "--", "true"]) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert gpu_lock.main(["--", "true"]) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_lock.main(["--", "true"]) == 3


def test_mig_instances_are_gpus(host: Callable[..., None]) -> None:
    host(listing=MIG)
    assert [g.identity for g in devices.find()] == ["GPU-aaa", "MIG-1", "MIG-2", "GPU-ccc"]
    assert [g.identity for g in devices.visible(devices.find(), "MIG-2")] == ["MIG-2"]
    with pytest.raises(UsageError, match="no GPU"):
        devices.visible(devices.find(), "GPU-zzz")


def test_without_a_gpu(host: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    host(rows="")
    with pytest.raises(MissingDependencyError, match="no GPU"):
        devices.find()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingDependencyError, match="nvidia-smi"):
        devices.find()


@pytest.mark.parametrize("wrong", [["--gpus", "0"], ["--gpus", "x"], ["--gpu", "2"],
                                   ["--exec-timeout", "-1"]])  # fmt: skip
def test_wrong_options_are_refused(host: object, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        gpu_lock.main([*wrong, "--", "true"])
    assert caught.value.code == 2
