"""Probes on planted machines: programs, packages, logins and checkouts, sound and broken."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from kernelkit.machine import checkouts, hardware, packages, programs
from kernelkit.machine.facts import ABSENT, BROKEN, OK, UNKNOWN, run
from kernelkit.machine.packages import Package


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that this process and the probes see first."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    ("code", "state", "detail"),
    [
        ("__version__ = '1.2'\nprint('noise')", OK, ""),
        ("print('no newline', end='')", OK, ""),
        ("import no_such_module_at_all", BROKEN, "No module named 'no_such_module_at_all'"),
        ("raise RuntimeError('undefined symbol: _ZN2at')", BROKEN, "undefined symbol: _ZN2at"),
        ("import sys; sys.exit(0)", BROKEN, ""),
        ("import os; os._exit(7)", BROKEN, "exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", BROKEN, "signal 11"),
        ("def broken(:", BROKEN, "SyntaxError"),
    ],
    ids=["sound", "noisy", "import", "runtime", "exit", "hard exit", "crash", "syntax"],
)
def test_packages_are_tried_elsewhere(planted: Path, code: str, state: str, detail: str) -> None:
    (planted / "planted_package.py").write_text(code)
    (fact,) = packages.probe(Package("planted", "planted_package", "planted-package"), 30.0)
    assert fact.state == state and detail in fact.detail, fact
    assert "planted_package" not in sys.modules
    assert fact.version == ("1.2" if "1.2" in code else "")


def test_an_import_that_hangs_is_ended(planted: Path) -> None:
    (planted / "planted_hang.py").write_text(
        "import subprocess, time\nsubprocess.Popen(['sleep', '60'])\ntime.sleep(60)\n"
    )
    start = time.monotonic()
    (fact,) = packages.probe(Package("planted", "planted_hang", "planted"), 0.5)
    assert fact.state == BROKEN and "longer than 0.5 s" in fact.detail
    assert time.monotonic() - start < 20


def test_a_folder_of_the_same_name_is_no_package(planted: Path) -> None:
    (planted / "planted_folder").mkdir()
    (planted / "planted_folder" / "README.md").write_text("a checkout")
    assert packages.probe(Package("p", "planted_folder", "p"), 30.0)[0].state == ABSENT
    (Path.cwd() / "planted_elsewhere").mkdir()
    (Path.cwd() / "planted_elsewhere" / "__init__.py").write_text("")
    assert packages.probe(Package("p", "planted_elsewhere", "p"), 30.0)[0].state == ABSENT


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("class version: cuda = None\n__version__ = '2.13.0+cpu'\n", (OK, ABSENT)),
        (
            "class version: cuda = '13.0'\n__version__ = '2.13.0'\nclass cuda:\n"
            "    is_available = staticmethod(lambda: True)\n"
            "    device_count = staticmethod(lambda: 2)\n"
            "    get_device_name = staticmethod(lambda n: 'NVIDIA H200')\n"
            "    get_device_capability = staticmethod(lambda n: (9, 0))\n",
            (OK, OK),
        ),
        ("import no_such_module_at_all\n", (BROKEN, ABSENT)),
    ],
    ids=["cpu", "cuda", "broken"],
)
def test_torch_tells_of_its_gpu(planted: Path, text: str, states: tuple[str, str]) -> None:
    (planted / "planted_torch.py").write_text(text)
    facts = packages.probe(Package("torch", "planted_torch", "no-such-distribution"), 30.0)
    assert tuple(fact.state for fact in facts) == states
    if states[1] == OK:
        assert facts[1].version == "CUDA 13.0" and facts[1].detail.count("H200 (sm_90)") == 2


@pytest.fixture
def path_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(programs, "_CUDA_BINARIES", ())
    return folder


def _plant(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_programs(path_of: Path) -> None:
    known = {program.name: program for program in programs.PROGRAMS}
    assert all(programs.probe(program).state == ABSENT for program in known.values())
    _plant(path_of, "git-lfs", "echo 'git-lfs/3.3.0 (GitHub; linux amd64; go 1.19.8)'")
    _plant(path_of, "nvcc", "echo 'Cuda compilation tools, release 13.0, V13.0.88'")
    _plant(path_of, "clang++", "echo 'Debian clang version 14.0.6'")
    _plant(path_of, "gh", "echo 'cannot run' >&2; exit 3")
    found = {name: programs.probe(known[name]) for name in ("git_lfs", "nvcc", "cxx", "gh")}
    assert {name: fact.version for name, fact in found.items()} == {
        "git_lfs": "3.3.0", "nvcc": "13.0", "cxx": "14.0.6", "gh": ""}  # fmt: skip
    assert found["gh"].state == BROKEN and "cannot run" in found["gh"].detail


def test_gpus(path_of: Path) -> None:
    assert hardware.gpu().state == ABSENT
    rows = "NVIDIA H200, 580.65.06, 143771, 9.0"
    _plant(path_of, "nvidia-smi", f"echo '{rows}'; echo '{rows}'")
    fact = hardware.gpu()
    assert (fact.version, fact.detail) == (
        "2, driver 580.65.06",
        "NVIDIA H200, 140 GiB, compute 9.0",
    )
    _plant(path_of, "nvidia-smi", "echo 'No devices were found'; exit 6")
    assert hardware.gpu().state == BROKEN
    _plant(path_of, "nvidia-smi", "echo 'NVIDIA X, 580, [N/A], 9.0'")
    assert "NVIDIA X" in hardware.gpu().detail


def test_logins(path_of: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert programs.hub_login().state == ABSENT
    (tmp_path / "token").write_text("planted-secret")
    fact = programs.hub_login()
    assert fact.state == OK and "planted-secret" not in repr(fact)
    monkeypatch.setenv("HF_TOKEN", "another-secret")
    assert "another-secret" not in repr(programs.hub_login())
    assert programs.gh_login().state == ABSENT
    _plant(path_of, "gh", "exit 1")
    assert programs.gh_login().detail == "not logged in"
    _plant(path_of, "gh", "exit 0")
    assert programs.gh_login().state == OK


def test_the_machine_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.python().state == OK
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    assert "3.10 to 3.12" in hardware.python().detail
    assert int(hardware.cores().version) >= 1
    assert float(hardware.memory().version.split()[0]) > 0.1
    assert "checkouts" in hardware.disk(tmp_path / "not" / "yet").detail


def test_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    fact = hardware.reach("github", "no-such-host.invalid")
    assert fact.state == ABSENT and "no-such-host.invalid" in fact.detail
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert hardware.reach("github", "github.com").state == UNKNOWN


def test_checkouts(tmp_path: Path) -> None:
    from kernelkit.sources.config import Entry, ReposConfig, write

    assert checkouts.probe("sglang", tmp_path).state == ABSENT
    (tmp_path / "sglang" / ".git").mkdir(parents=True)
    entries = {
        "sglang": Entry(str(tmp_path / "sglang"), "u", "a" * 40, tag="v0.5.14"),
        "flashinfer": Entry(str(tmp_path / "gone"), "u", "b" * 40),
    }
    write(tmp_path, ReposConfig(entries))
    assert checkouts.probe("sglang", tmp_path).version == "aaaaaaaaaaaa (v0.5.14)"
    assert checkouts.probe("flashinfer", tmp_path).state == BROKEN


def test_a_program_that_hangs_is_ended_with_its_children() -> None:
    start = time.monotonic()
    answer = run(["sh", "-c", "sleep 60 & sleep 60"], 0.3)
    assert answer.code is None and time.monotonic() - start < 20
