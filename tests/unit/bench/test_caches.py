"""What a solution has compiled: kept for its next run, for nobody else, and never an answer."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernelkit.bench.isolation import caches
from kernelkit.bench.settings import Settings
from kernelkit.dataset.solution import Solution

SETTINGS = Settings(device="cuda:0")


@dataclass
class Process:
    """The part of a solution's process that caches know."""

    folder: Path
    user: int | None = None

    def compile(self, *names: str) -> Process:
        for name in names:
            path = self.folder / ".cache" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"built {name}", encoding="utf-8")
        return self

    @property
    def files(self) -> set[str]:
        root = self.folder / ".cache"
        return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLASHINFER_WORKSPACE_BASE", str(tmp_path / "home"))


def _solution(text: str = "def run():\n    return 1\n") -> Solution:
    return Solution.model_validate({
        "name": "s", "definition": "d", "author": "tests",
        "spec": {"language": "triton", "target_hardware": ["cuda"], "entry_point": "main.py::run"},
        "sources": [{"path": "main.py", "content": text}],
    })  # fmt: skip


def _brought(folder: Path, solution: Solution, settings: Settings = SETTINGS) -> set[str]:
    process = Process(folder)
    caches.bring(solution, process, settings)
    return process.files


def test_a_build_is_there_for_the_same_solution_alone(tmp_path: Path) -> None:
    caches.keep(_solution(), Process(tmp_path / "a").compile("triton/one"), SETTINGS)
    assert _brought(tmp_path / "b", _solution()) == {"triton/one"}
    assert not _brought(tmp_path / "c", _solution("def run():\n    return 2\n"))
    assert not _brought(tmp_path / "d", _solution(), Settings(device="cpu"))


def test_what_later_workloads_compiled_is_kept_too(tmp_path: Path) -> None:
    process = Process(tmp_path / "a").compile("triton/one")
    caches.keep(_solution(), process, SETTINGS)
    caches.keep(_solution(), process.compile("triton/two", "triton/three"), SETTINGS)
    caches.keep(_solution(), Process(tmp_path / "b").compile("triton/four"), SETTINGS)  # fewer
    assert _brought(tmp_path / "c", _solution()) == {"triton/one", "triton/two", "triton/three"}
    builds = [p.name for p in (tmp_path / "home").rglob("builds/*")]
    assert len(builds) == 1  # nothing half-made stays


def test_with_a_seed_of_the_user_nothing_is_kept_or_brought(tmp_path: Path) -> None:
    given = Settings(device="cuda:0", seed=1, seed_is_drawn=False)
    caches.keep(_solution(), Process(tmp_path / "a").compile("answers"), given)
    assert not _brought(tmp_path / "b", _solution())
    caches.keep(_solution(), Process(tmp_path / "c").compile("triton/one"), SETTINGS)
    assert not _brought(tmp_path / "d", _solution(), given)


def test_flashinfers_own_cache_is_brought_and_never_written(tmp_path: Path) -> None:
    theirs = tmp_path / "home" / ".cache" / "flashinfer" / "norm.so"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("kernel", encoding="utf-8")
    user = _solution("import flashinfer\n")
    assert _brought(tmp_path / "a", user) == {"flashinfer/norm.so"}
    assert not _brought(tmp_path / "b", _solution())
    caches.keep(user, Process(tmp_path / "a").compile("flashinfer/forged.so", "own"), SETTINGS)
    assert _brought(tmp_path / "c", user) == {"flashinfer/norm.so", "own"}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the user", encoding="utf-8")
    process = Process(tmp_path / "a").compile("triton/one")
    (process.folder / ".cache" / "link").symlink_to(secret)
    (process.folder / ".cache" / "folder").symlink_to(tmp_path)
    caches.keep(_solution(), process, SETTINGS)
    assert _brought(tmp_path / "b", _solution()) == {"triton/one"}


def test_a_link_in_the_place_of_the_cache_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("of the user", encoding="utf-8")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".cache").symlink_to(tmp_path / "secrets")
    caches.keep(_solution(), Process(tmp_path / "a"), SETTINGS)
    assert not _brought(tmp_path / "b", _solution())


def test_a_cache_that_nobody_can_walk_through_is_no_error(tmp_path: Path) -> None:
    process = Process(tmp_path / "a").compile("triton/one")
    os.mkfifo(process.folder / ".cache" / "pipe")
    here = os.open(process.folder / ".cache", os.O_RDONLY)
    for _ in range(1500):  # deeper than Python recurses
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    caches.keep(_solution(), process, SETTINGS)
    assert _brought(tmp_path / "b", _solution()) == {"triton/one"}
    subprocess.run(["rm", "-rf", str(process.folder)], check=True)  # pytest recurses, too


def test_the_users_own_cache_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "norm.so").write_text("kernel", encoding="utf-8")
    (tmp_path / "home" / ".cache").mkdir(parents=True)
    (tmp_path / "home" / ".cache" / "flashinfer").symlink_to(tmp_path / "disk")
    assert _brought(tmp_path / "a", _solution("import flashinfer\n")) == {"flashinfer/norm.so"}
