"""scripts/setup_env.py from the command line: plans, recipes, what is wrong; once for real."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.machine.environments.locks import PURPOSES, Lock, available, of_purpose
from kernelkit.machine.environments.recipes import FILES, FOLDERS, RECIPES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "setup_env.py"


def _run(
    *words: object, cwd: Path, flags: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, *map(str, words)], cwd=cwd, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("-S", "-E")], ids=["here", "bare"])
def test_a_dry_run_writes_nothing(flags: tuple[str, ...], tmp_path: Path) -> None:
    """Also on a Python without any package: it runs before there is an environment."""
    done = _run(
        SCRIPT, "cpu", "--dry-run", "--json", "--installer", "pip", cwd=tmp_path, flags=flags
    )
    assert done.returncode == 0 and done.stderr == ""
    document = json.loads(done.stdout)
    assert document["state"] == "planned" and document["path"] == str(tmp_path / ".venv-cpu")
    steps = [step["words"] for step in document["steps"]]
    assert steps[0][1:3] == ["-m", "venv"] and steps[-1][1] == "-c"
    lock = next(lock for lock in of_purpose("cpu") if lock.path.name == document["lock"]["file"])
    installed = {word for words in steps for word in words if "==" in word}
    assert installed == {f"{name}=={version}" for name, version in lock.pins.items()}
    assert list(tmp_path.iterdir()) == []


def test_the_list(tmp_path: Path) -> None:
    done = _run(SCRIPT, "--json", cwd=tmp_path)
    listed = json.loads(done.stdout)
    assert [entry["file"] for entry in listed] == [lock.path.name for lock in available()]
    assert all(entry["seen"] for entry in listed)
    shown = _run(SCRIPT, cwd=tmp_path).stdout
    assert all(purpose in shown for purpose in PURPOSES)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--path", "x"], 2, "which purpose?"),
        (["cpu", "--output", "x"], 2, "--output is for a recipe"),
        (["cpu", "--timeout", "0"], 2, "not a positive number of seconds"),
        (["cpu", "--python", "no-such-python"], 2, "none that has a lock"),
        (["cpu", "--path", "taken"], 2, "did not make"),
        (["cpu", "--installer", "uv"], 3, "uv is not on PATH"),
        (["cpu", "--recipe", "enroot", "--output", "taken"], 2, "is a folder"),
        (["cpu", "--recipe", "enroot", "--path", "x"], 2, "not for a recipe"),
        (["cpu", "--recipe", "enroot", "--python", "no-such-python"], 2, "none that has a lock"),
        (["cpu", "--path", "file/x", "--installer", "pip"], 2, "cannot write there"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    done = _run(SCRIPT, *words, cwd=tmp_path, PATH="/usr/bin:/bin")
    assert done.returncode == code and message in done.stderr and done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("lock", of_purpose("cpu"), ids=lambda lock: lock.python)
def test_a_recipe_for_a_python(lock: Lock, tmp_path: Path) -> None:
    """--python names one of the Pythons with a lock; without it, the newest of them."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\nprintf '{lock.python}\\n{tmp_path}/python\\n'\n")
    interpreter.chmod(0o755)
    done = _run(SCRIPT, "cpu", "--recipe", "dockerfile", "--python", interpreter, cwd=tmp_path)
    assert done.stdout == RECIPES["dockerfile"](lock)
    assert f"\nFROM python:{lock.python}-" in done.stdout


@pytest.mark.parametrize("form", RECIPES)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_recipe_is_that_of_the_lock(purpose: str, form: str, tmp_path: Path) -> None:
    """Its Python, CUDA and command are the lock's; the command works on what it brings along."""
    lock = of_purpose(purpose)[0]
    out = tmp_path / "recipe"
    done = _run(SCRIPT, purpose, "--recipe", form, "--output", out, cwd=tmp_path)
    assert done.returncode == 0
    text = out.read_text()
    assert text == RECIPES[form](lock) and lock.digest in text
    (image,) = re.findall(r"^FROM (\S+)$|docker://(\S+)$", text, re.MULTILINE)
    assert lock.base_image in image
    if lock.cuda:
        assert f"python{lock.python}-venv" in text and f"cuda:{lock.cuda}." in text
    if form == "enroot":
        assert subprocess.run(["bash", "-n", str(out)], timeout=10).returncode == 0
    (command,) = re.findall(r"python\S+ /opt/kernelkit/(scripts/setup_env\.py .*?)(?: &&|\n)", text)
    copied = tmp_path / "context"
    (copied).mkdir()
    shutil.copytree(
        ROOT / "scripts", copied / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    interpreter = tmp_path / "python"  # says that it is the image's Python
    interpreter.write_text(f"#!/bin/sh\nprintf '{lock.python}\\n{interpreter}\\n'\n")
    interpreter.chmod(0o755)
    words = [*shlex.split(command), "--dry-run", "--json", "--python", str(interpreter)]
    words[words.index("--path") + 1] = str(tmp_path / "environment")
    planned = json.loads(_run(*words, cwd=copied).stdout)
    assert planned["lock"]["file"] == lock.path.name and planned["lock_sha256"] == lock.digest


def test_a_dockerfile_copies_what_there_is() -> None:
    assert [part for part in (*FOLDERS, *FILES) if not (ROOT / part).exists()] == []
    text = RECIPES["dockerfile"](of_purpose("cpu")[0])
    copied = {word for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for word in line.split()}
    assert copied == {*FOLDERS, *FILES}


def test_a_recipe_on_stdout_and_not_written(tmp_path: Path) -> None:
    done = _run(SCRIPT, "cpu", "--recipe", "dockerfile", "--output", "x", "--dry-run", cwd=tmp_path)
    assert done.stdout.startswith("# Made by") and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    os.environ.get("KERNELKIT_SLOW") != "1", reason="takes minutes: KERNELKIT_SLOW=1"
)
def test_the_cpu_environment_for_real(tmp_path: Path) -> None:
    """Made with pip from the network, used, and found again. Needs an index and a CPU build."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lock = next((lock for lock in of_purpose("cpu") if lock.python == version), None)
    if lock is None:
        pytest.skip("no lock for this Python")
    pip = ["-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--retries", "0",
           "--timeout", "10", "-q"]  # fmt: skip
    torch = f"torch=={lock.pins['torch']}"
    if _run(*pip, "--index-url", lock.torch_index, torch, cwd=tmp_path).returncode:
        pytest.skip("no CPU build of torch can be had here")
    if _run(*pip, f"tqdm=={lock.pins['tqdm']}", cwd=tmp_path).returncode:
        pytest.skip("no package index can be reached")
    words = ["cpu", "--path", "my env", "--installer", "pip", "--json"]
    done = _run(SCRIPT, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "made"
    python = tmp_path / "my env" / "bin" / "python"
    config = ROOT / "tests" / "fixtures" / "configs" / "meta-llama__Llama-3.1-8B.json"
    derive = [ROOT / "scripts" / "derive_definitions.py", "--config", config, "--dataset", "data"]
    check = [ROOT / "scripts" / "validate_dataset.py", "--dataset", "data", "--smoke"]
    for command in ([*derive, "--op-types", "rmsnorm", "--create"], check):
        used = subprocess.run(
            [python, *map(str, command)], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert used.returncode == 0, used.stderr
    again = _run(SCRIPT, *words, cwd=tmp_path)
    assert json.loads(again.stdout)["state"] == "already there"
