"""The enroot recipe is run, with a stand-in of enroot: once, twice, cut off, misused."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.machine.environments.locks import of_purpose
from kernelkit.machine.environments.recipes import FILES, FOLDERS, RECIPES

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).with_name("enroot_stand_in.py")
RECIPE = RECIPES["enroot"](of_purpose("cpu")[0])
IMAGE, BOX = "kernelkit-cpu.sqsh", "kernelkit-cpu"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack's root to run the recipe in; `enroot` is on the PATH that `_bash` sets."""
    (tmp_path / "bin").mkdir()
    enroot = tmp_path / "bin" / "enroot"
    enroot.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{STAND_IN}" "$@"\n')
    enroot.chmod(0o755)
    (tmp_path / "data").mkdir()
    root = tmp_path / "pack"
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "setup_env.py").write_text("")
    return root


def _bash(
    pack: Path, text: str, at: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    path = f"{pack.parent}/bin:{os.environ['PATH']}"
    known = {"PATH": path, "ENROOT_DATA_PATH": f"{pack.parent}/data"}
    return subprocess.run(
        ["bash", "-c", text], cwd=at or pack, capture_output=True, text=True, timeout=60,
        env={**os.environ, **known, **environment},
    )  # fmt: skip


def _left(pack: Path) -> tuple[list[str], list[str]]:
    """What lies in the pack, and the containers."""
    containers = [path.name for path in (pack.parent / "data").iterdir() if not path.is_symlink()]
    return sorted(path.name for path in pack.iterdir()), containers


def test_the_environment_is_found_in_what_the_recipe_makes(pack: Path) -> None:
    """By the command that the recipe itself names for later, in a login shell of Debian's."""
    made = _bash(pack, RECIPE)
    assert made.returncode == 0, made.stderr
    assert _left(pack) == ([IMAGE, "scripts"], [])
    (later,) = re.findall(r"^#   (enroot create .* bash)$", RECIPE, re.MULTILINE)
    used = _bash(pack, f"""{later} -c 'command -v python; echo "$VIRTUAL_ENV"'""")
    assert used.returncode == 0, used.stderr
    container = pack.parent / "data" / "root"
    found, environment = used.stdout.split()
    assert found == f"{container}/opt/environment/bin/python"
    assert environment == f"{container}/opt/environment"
    # What does not go through a login shell has PATH from here; the last line counts.
    last = (container / "etc" / "environment").read_text().splitlines()[-1]
    assert last == f"PATH={container}/opt/environment/bin:{container}/usr/local/bin:/usr/bin:/bin"


def test_a_second_run_makes_the_image_anew_and_leaves_containers_alone(pack: Path) -> None:
    assert _bash(pack, RECIPE).returncode == 0
    for name in (BOX, f"{BOX}-build"):  # the user's, and that of a run that was killed
        assert _bash(pack, f"enroot create -n {name} {IMAGE}").returncode == 0
    (pack / "kernelkit-cpu.base.sqsh").write_text("half")
    (pack / IMAGE).write_text("old")
    again = _bash(pack, RECIPE)
    assert again.returncode == 0, again.stderr
    assert (pack / IMAGE).read_bytes() != b"old"
    assert _left(pack) == ([IMAGE, "scripts"], [BOX])


@pytest.mark.parametrize("command", ["import", "create", "start", "export"])
def test_a_failure_leaves_the_old_image_and_nothing_else(command: str, pack: Path) -> None:
    (pack / IMAGE).write_text("old")
    failed = _bash(pack, RECIPE, ENROOT_FAILS=command)
    assert failed.returncode == 1 and f"{command} failed, as asked" in failed.stderr
    assert (pack / IMAGE).read_text() == "old"
    assert _left(pack) == ([IMAGE, "scripts"], [])


def test_a_failure_within_the_container_is_one(pack: Path) -> None:
    """The interpreter stands in for setup_env.py, which is not there: exit code 9."""
    (pack / "scripts" / "setup_env.py").unlink()
    (pack / "scripts" / "setup_env.py").mkdir()
    recipe = RECIPE.replace("[ -f scripts/setup_env.py ]", "true")
    assert recipe != RECIPE
    assert _bash(pack, recipe).returncode == 9
    assert _left(pack) == (["scripts"], [])


def test_where_it_cannot_work_it_says_so(pack: Path) -> None:
    spaced = shutil.copytree(pack, pack.with_name("my pack"))
    for place, environment, code, message in [
        (pack / "scripts", {}, 2, "pack's root"),
        (spaced, {}, 2, "spaces or colons"),
        (pack, {"PATH": "/usr/bin:/bin"}, 3, "enroot is not on PATH"),
    ]:
        done = _bash(pack, RECIPE, place, **environment)
        assert done.returncode == code and message in done.stderr
    assert _left(pack) == (["scripts"], [])


def test_the_builder_is_sent_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert sorted(kept) == sorted((*FOLDERS, *FILES)) and "*" in lines
