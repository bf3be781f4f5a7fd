"""Environments from locks: made whole or not at all, resumed, mended, replaced at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import wheels

from kernelkit.errors import DeadlineError, KernelkitError, MissingDependencyError, UsageError
from kernelkit.machine.environments import (
    contents,
    filling,
    installers,
    interpreters,
    making,
    steps,
)
from kernelkit.machine.environments.locks import PURPOSES, available, read
from kernelkit.machine.environments.making import make, plan
from kernelkit.machine.environments.request import LOG, MADE, PLANNED, STAMP, THERE, Request

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with wheels, which is all that pip and uv can reach."""
    folder = tmp_path / "shelf"
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, str(folder))
    for name in ("PIP_NO_INDEX", "UV_NO_INDEX"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    wheels.wheel(folder, "alpha", "1.0")
    return folder


@dataclass(frozen=True)
class Copying(installers.Installer):
    """pip, in copies of one empty environment: making one with pip in it takes seconds."""

    template: str = ""

    def venv(self, interpreter: str, folder: Path) -> list[str]:
        """Copy the template."""
        return ["cp", "-a", f"{self.template}/.", str(folder)]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An empty environment."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    return str(folder)


@pytest.fixture
def request_of(tmp_path: Path, template: str) -> Callable[..., Request]:
    """A request for an environment of these pins."""

    def made(*pins: str, installer: str = "pip", imports: str = "alpha, beta") -> Request:
        lock = wheels.lock(tmp_path / "locks", PYTHON, *pins, imports=imports)
        pip = Copying("pip", template=template)
        chosen = pip if installer == "pip" else installers.choose(installer)
        return Request(lock, sys.executable, chosen, tmp_path / "a place" / ".venv-cpu", 120.0)

    return made


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_the_life_of_an_environment(
    installer: str, shelf: Path, request_of: Callable[..., Request]
) -> None:
    if installer == "uv" and not shutil.which("uv"):
        pytest.skip("uv is not installed")
    request = request_of("alpha==1.0", "beta==2.0", installer=installer)
    assert plan(request).state == PLANNED and not request.path.parent.exists()

    with pytest.raises(MissingDependencyError) as caught:  # there is no beta
        make(request)
    assert "beta" in str(caught.value) and str(request.build / LOG) in str(caught.value)
    assert not os.path.lexists(request.path)

    wheels.wheel(shelf, "beta", "2.0")
    assert [step.what.split(" with")[0] for step in plan(request).steps][0].startswith(
        "2 of 2 pins"
    )
    assert make(request).state == MADE
    assert request.path.is_symlink() and not (request.build / "tmp").exists()
    stamp = request.build / STAMP
    assert json.loads(stamp.read_text())["installer"] == installer
    _says(request.path, "import beta; print(beta.VERSION)", "2.0")

    before = stamp.stat().st_mtime_ns
    assert make(request).state == plan(request).state == THERE
    assert stamp.stat().st_mtime_ns == before

    (info,) = request.build.glob("lib/*/site-packages/beta-2.0.dist-info")
    (info / "RECORD").unlink()  # as a kill in the middle of an installation leaves it
    assert contents.missing(request.build, request.lock.pins) == ["beta==2.0"]
    (shelf / "beta-2.0-py3-none-any.whl").rename(shelf / "away")
    with pytest.raises(MissingDependencyError):
        make(request)
    assert not os.path.lexists(request.path)  # half an environment is not to be had
    (shelf / "away").rename(shelf / "beta-2.0-py3-none-any.whl")
    assert make(request).state == MADE and request.path.is_symlink()


def test_another_lock_replaces_the_environment_when_it_is_ready(
    shelf: Path, request_of: Callable[..., Request]
) -> None:
    first = request_of("alpha==1.0", imports="alpha")
    make(first)
    wheels.wheel(shelf, "alpha", "3.0", requires="gamma>=1")
    broken = request_of("alpha==3.0", imports="alpha, no_such_module")
    with pytest.raises(MissingDependencyError, match="no_such_module"):
        make(broken)
    _says(first.path, "import alpha; print(alpha.VERSION)", "1.0")
    torn = request_of("alpha==3.0", imports="alpha")
    shutil.copytree(broken.build, torn.build, symlinks=True)  # spares making a third
    with pytest.raises(KernelkitError, match="contradict each other"):
        make(torn)
    known = replace(torn, lock=replace(torn.lock, head={**torn.lock.head, "consistent": ["no"]}))
    done = make(known)
    assert any("gamma" in note for note in done.notes)
    assert any(str(first.build) in note for note in done.notes)
    _says(first.path, "import alpha; print(alpha.VERSION)", "3.0")
    assert first.build.is_dir()


def test_a_kill_leaves_nothing_under_the_name(
    shelf: Path, request_of: Callable[..., Request], tmp_path: Path
) -> None:
    request = request_of("alpha==1.0", imports="alpha")
    code = (
        "import sys; from pathlib import Path\n"
        "from kernelkit.machine.environments import installers, locks, making, request\n"
        "lock = locks.read(Path(sys.argv[1]))\n"
        "pip = installers.choose('pip')\n"
        "making.make(request.Request(lock, sys.argv[2], pip, Path(sys.argv[3])))"
    )
    words = [sys.executable, "-c", code, str(request.lock.path), sys.executable, str(request.path)]
    scripts = str(Path(making.__file__).resolve().parents[3])
    process = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": scripts})
    deadline = time.monotonic() + 30
    while not (request.build / "bin" / "python").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert request.build.is_dir() and not os.path.lexists(request.path)
    assert make(request).state == MADE
    _says(request.path, "import alpha; print(alpha.VERSION)", "1.0")


def _says(path: Path, code: str, expected: str) -> None:
    words = [str(path / "bin" / "python"), "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == expected, done.stderr


@pytest.mark.parametrize("kind", ["folder", "file", "link", "dangling"])
def test_what_is_not_ours_stays(kind: str, request_of: Callable[..., Request]) -> None:
    path = (request := request_of("alpha==1.0")).path
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    else:
        path.symlink_to("/" if kind == "link" else "elsewhere")
    for action in (plan, make):
        with pytest.raises(UsageError, match="did not make"):
            action(request)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_told_before(
    shelf: Path, request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(shelf)._replace(free=1000)
    monkeypatch.setattr(making.shutil, "disk_usage", lambda _: usage)
    request = request_of("alpha==1.0")
    with pytest.raises(MissingDependencyError, match="takes about 0.1 GB"):
        make(request)
    assert not os.path.lexists(request.path)


def test_torch_falls_back_to_the_default_index(
    request_of: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_of("torch==2.0", "alpha==1.0")
    head = {**request.lock.head, "torch-index": ["https://example.org/cpu"]}
    request = replace(request, lock=replace(request.lock, head=head))
    asked: list[list[str]] = []
    for reachable in (True, False):
        asked.clear()

        def carry_out(_: Request, step: steps.Step, reachable: bool = reachable) -> bool:
            asked.append(step.words)
            return reachable or not step.optional

        monkeypatch.setattr(filling, "_carry_out", carry_out)
        done = filling.install(request)
        assert len(asked) == (2 if reachable else 3) and len(done) == 2
        assert "https://example.org/cpu" in asked[0] and "--no-deps" in asked[0]
        assert asked[-1][-2:] == ["--no-deps", "alpha==1.0"]
    assert asked[1][-3:] == ["-c", str(request.lock.path), "torch==2.0"]


def test_a_step_ends_at_its_limit_with_its_children(tmp_path: Path) -> None:
    script = f"sh -c 'sleep 2; touch {tmp_path}/late' & wait"
    step = steps.Step("a nap", ["sh", "-c", script])
    with pytest.raises(DeadlineError, match="a nap took too long"):
        steps.carry_out(step, tmp_path / "log", 0.3, tmp_path / "tmp")
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    step = steps.Step("it", ["sh", "-c", "echo 'OSError: No space left on device'; exit 1"])
    with pytest.raises(MissingDependencyError, match="the disk is full"):
        steps.carry_out(step, tmp_path / "log", 10.0, tmp_path / "tmp")


def test_interpreters(tmp_path: Path) -> None:
    ours = wheels.lock(tmp_path, PYTHON, "alpha==1.0")
    assert interpreters.choose([ours], None)[0] is ours
    other = wheels.lock(tmp_path, "2.7", "alpha==1.0")
    with pytest.raises(MissingDependencyError, match="Python 2.7"):
        interpreters.choose([other], None)
    for wrong in (sys.executable, str(tmp_path / "none")):
        with pytest.raises(UsageError, match="none that has a lock"):
            interpreters.choose([other], wrong)


def test_an_interpreter_below_a_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "my pack"
    venv.create(folder, symlinks=True, with_pip=False)
    program = str(folder / "bin" / "python")
    ours = wheels.lock(tmp_path, PYTHON, "alpha==1.0")
    assert interpreters.choose([ours], program) == (ours, program)


def test_the_locks_of_the_pack() -> None:
    """Each purpose has one; pins are exact; torch's CUDA, its libraries and the image agree."""
    locks = available()
    assert {lock.purpose for lock in locks} == set(PURPOSES)
    assert [lock.python for lock in locks if lock.purpose == "cpu"] == ["3.12", "3.11", "3.10"]
    for lock in locks:
        assert lock.path.name == f"{lock.purpose}-py{lock.python.replace('.', '')}.txt"
        assert {"torch", "pydantic", "numpy", "safetensors", "pytest", "tqdm"} <= set(lock.pins)
        assert all("TODO" not in seen for seen in lock.head["seen"])
        nvidia = {name for name in lock.pins if name.startswith("nvidia-cu") and "-cu1" in name}
        if lock.cuda is None:
            assert lock.torch_index and lock.base_image.startswith(f"python:{lock.python}-")
            assert not any(name.startswith("nvidia") for name in lock.pins)
            continue
        assert lock.base_image.startswith(f"nvidia/cuda:{lock.cuda}.")
        assert lock.base_image.endswith("-ubuntu24.04") and lock.python == "3.12"  # its Python
        major = lock.cuda.split(".")[0]
        assert nvidia and all(f"-cu{major}" in name for name in nvidia)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    """Every pin is inside the range that pyproject.toml gives for that distribution."""
    requirements = pytest.importorskip("packaging.requirements")
    text = (Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    wanted = [
        requirements.Requirement(part.split('"')[1])
        for part in text.split("[project]")[1].split("[project.scripts]")[0].splitlines()
        if part.strip().startswith('"') or '= ["' in part
    ]
    checked = 0
    for lock in available():
        for requirement in wanted:
            version = lock.pins.get(requirement.name.replace("_", "-").lower())
            is_older = lock.cuda and lock.cuda.startswith("12") and "cupti" in requirement.name
            if version and not is_older:
                assert requirement.specifier.contains(version), f"{lock.path.name}: {requirement}"
                checked += 1
    assert checked >= 40


@pytest.mark.parametrize(
    ("text", "message"), [("alpha>=1\n", "is no pin"), ("# python: 3.12\nalpha==1\n", "lacks seen")]
)
def test_a_wrong_lock_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cpu-py312.txt").write_text(text)
    with pytest.raises(KernelkitError, match=message):
        read(tmp_path / "cpu-py312.txt")
