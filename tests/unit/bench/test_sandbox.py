"""What a locked-in process can still do, and what not. Each check runs in a fork."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelkit.bench.isolation import landlock, sandbox, seccomp
from kernelkit.bench.isolation.nursery import Nursery

linux = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")


def _in_a_fork(check: Callable[[], None]) -> int:
    """The exit code of a fork that runs `check`: 0, or 1 with the traceback on stderr."""
    pid = os.fork()
    if pid == 0:
        try:
            check()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _refused(act: Callable[[], object]) -> None:
    try:
        act()
    except (PermissionError, OSError):
        return
    raise AssertionError("was allowed")


@linux
def test_landlock_leaves_its_folder_only(tmp_path: Path) -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "secret").write_text("x")

    def check() -> None:
        assert landlock.restrict([Path("/usr"), Path("/lib")], [own])
        (own / "file").write_text("fine")
        assert (own / "file").read_text() == "fine"
        _refused((other / "secret").read_text)
        _refused(lambda: (other / "new").write_text("x"))
        _refused(lambda: os.listdir(other))

    assert _in_a_fork(check) == 0
    assert os.listdir(other) == ["secret"]


@linux
def test_seccomp_refuses_internet_and_signals() -> None:
    parent = os.getpid()

    def check() -> None:
        if not seccomp.install(allow_signals=False):
            os._exit(77)
        for family in (socket.AF_INET, socket.AF_INET6):
            _refused(lambda family=family: socket.socket(family))
        first, second = socket.socketpair()  # AF_UNIX stays
        first.close()
        second.close()
        _refused(lambda: os.kill(parent, 0))
        assert _io_uring() == errno.EPERM  # its requests would pass no filter
        os.kill(os.getpid(), 0)
        assert os.waitstatus_to_exitcode(os.waitpid(_forked_child(), 0)[1]) == 0

    code = _in_a_fork(check)
    if code == 77:
        pytest.skip("no seccomp here")
    assert code == 0


@linux
def test_nothing_in_the_kernel_outlives_a_solution() -> None:
    def check() -> None:
        if not seccomp.install(allow_signals=False):
            os._exit(77)
        library = ctypes.CDLL(None, use_errno=True)
        numbers = seccomp.MACHINES[platform.machine()][1]
        for name in ("shmget", "semget", "msgget", "mq_open", "add_key", "request_key", "keyctl"):
            ctypes.set_errno(0)
            assert library.syscall(numbers[name], 0, 1, 0o600, 0, 0) == -1, name
            assert ctypes.get_errno() == errno.EPERM, name

    code = _in_a_fork(check)
    if code == 77:
        pytest.skip("no seccomp here")
    assert code == 0


@linux
def test_a_solution_is_ended_first_where_memory_runs_out() -> None:
    def check() -> None:
        sandbox.be_ended_first()
        assert Path("/proc/self/oom_score_adj").read_text().strip() == "1000"

    assert _in_a_fork(check) == 0


def _io_uring() -> int:
    """The error of asking for an io_uring."""
    library = ctypes.CDLL(None, use_errno=True)
    parameters = ctypes.create_string_buffer(120)
    library.syscall(425, 1, parameters)
    return ctypes.get_errno()


def _forked_child() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


@linux
def test_the_whole_of_it(tmp_path: Path) -> None:
    parent = os.getpid()

    def check() -> None:
        names = sandbox.restrict(tmp_path)
        if not names:
            os._exit(77)
        _refused(lambda: os.kill(parent, signal.SIGCONT))
        _refused(lambda: socket.create_connection(("127.0.0.1", 9), timeout=1))
        if any("landlock" in name for name in names):
            _refused(lambda: Path("/var/tmp/x").write_text("x"))
            _refused(lambda: Path(f"/proc/{parent}/environ").read_bytes())

    code = _in_a_fork(check)
    if code == 77:
        pytest.skip("neither Landlock nor seccomp here")
    assert code == 0


def test_the_environment_is_scrubbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    made = sandbox.environment(tmp_path)
    assert "MY_TOKEN" not in made
    caches = [v for n, v in made.items() if "CACHE" in n or n in ("HOME", "TMPDIR")]
    assert caches and all(value.startswith(str(tmp_path)) for value in caches)


def test_a_user_that_stands_in_no_table_has_a_name(tmp_path: Path) -> None:
    """FlashLinearAttention asks for it while it is imported."""
    code = "import os, getpass; os.setuid(61002) if os.geteuid() == 0 else None; getpass.getuser()"
    words = [sys.executable, "-c", code]
    subprocess.run(words, env=sandbox.environment(tmp_path), check=True)


def test_no_user_of_its_own_without_privileges(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox.user_for(1, tmp_path) is None


def test_no_user_of_its_own_in_a_folder_that_it_cannot_reach(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tmp_path.chmod(0o700)
    assert sandbox.user_for(1, tmp_path) is None


@linux
def test_the_nursery_holds_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fork reads its parent's first environment in /proc/self/environ."""
    pytest.importorskip("torch")
    monkeypatch.setenv("MY_TOKEN", "secret")
    nursery = Nursery(tmp_path)
    try:
        held = Path(f"/proc/{nursery.service.process.pid}/environ").read_bytes()
    finally:
        nursery.stop()
    assert b"MY_TOKEN" not in held and b"PATH=" in held


@linux
def test_no_two_processes_share_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "user_for", lambda number, folder: number)
    one, two = sandbox.Users(), sandbox.Users()
    try:
        first = [one.lend(number, tmp_path) for number in range(1, 60)]
        second = [two.lend(number, tmp_path) for number in range(1, 60)]
        assert len({*first, *second}) == 2 * 59, "nor of two nurseries"
        one.take_back(first[1:])
        later = [one.lend(number, tmp_path) for number in range(60, 120)]
        assert len({*later, first[0]}) == 61, "the first process still lives"
        one.close()
        three = sandbox.Users()
        assert three.held is not None and three.first != two.first
        three.close()
    finally:
        two.close()
