"""The plugin's manifests agree with the pack; with the `claude` program there, it installs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kernelkit

ROOT = Path(__file__).resolve().parents[2]
SKILLS = sorted(path.parent.name for path in (ROOT / ".claude" / "skills").glob("*/SKILL.md"))


def _manifest(name: str) -> dict:
    return json.loads((ROOT / ".claude-plugin" / f"{name}.json").read_text(encoding="utf-8"))


def test_one_version_everywhere() -> None:
    plugin, (entry,) = _manifest("plugin"), _manifest("marketplace")["plugins"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert plugin["version"] == entry["version"] == kernelkit.__version__
    assert f'version = "{kernelkit.__version__}"' in project
    assert plugin["name"] == entry["name"]


def test_the_manifests_name_what_is_there() -> None:
    assert (ROOT / _manifest("plugin")["skills"]).resolve() == ROOT / ".claude" / "skills"
    assert (ROOT / ".agents" / "skills").resolve() == ROOT / ".claude" / "skills"
    assert _manifest("marketplace")["plugins"][0]["source"] == "./"
    assert len(SKILLS) >= 4


def _copy(target: Path) -> Path:
    """The pack below a path with a space, as a plugin's folder is."""
    left_out = shutil.ignore_patterns(
        ".git", ".venv*", "out", "tmp", ".gpu", "__pycache__", "build"
    )
    return Path(shutil.copytree(ROOT, target / "a pack", symlinks=True, ignore=left_out))


def test_scripts_run_from_elsewhere(tmp_path: Path) -> None:
    script = _copy(tmp_path) / "scripts" / "derive_definitions.py"
    config = ROOT / "tests" / "fixtures" / "configs" / "meta-llama__Llama-3.1-8B.json"
    done = subprocess.run(
        [sys.executable, str(script), "--config", str(config), "--dataset", "data", "--create"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "definitions" / "rmsnorm" / "rmsnorm_h4096.json").is_file()
    assert not (script.parents[1] / "data").exists()


@pytest.mark.skipif(shutil.which("claude") is None, reason="the program claude is not here")
def test_every_skill_is_installed(tmp_path: Path) -> None:
    pack = _copy(tmp_path)
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    shown = ""
    for words in (["marketplace", "add", str(pack)], ["install", "kernelkit@kernelkit"],
                  ["details", "kernelkit"]):  # fmt: skip
        done = subprocess.run(
            ["claude", "plugin", *words], env=environment, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        shown = done.stdout
    assert f"Skills ({len(SKILLS)})" in shown
    assert all(name in shown for name in SKILLS)
