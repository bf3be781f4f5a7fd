"""The ecosystem's validators find nothing, in a copy that holds what is committed.

`pip install -e ".[validators]"` brings three of them; `claude` is @anthropic-ai/claude-code of npm.
A validator that is not installed is a test that is skipped; one that looks at nothing fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKILLS = sorted(path.parent.name for path in (ROOT / ".claude" / "skills").glob("*/SKILL.md"))
# What the validators read. Tests and the library are no business of theirs, and hold odd files.
PARTS = (".agents", ".claude", ".claude-plugin", "templates", "scripts", "README.md", "AGENTS.md",
         "CLAUDE.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml")  # fmt: skip


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the validators read of the pack."""
    target = tmp_path_factory.mktemp("validated") / "pack"
    target.mkdir()
    left_out = shutil.ignore_patterns("__pycache__")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=left_out)
        else:
            shutil.copy(ROOT / name, target / name)
    return target


def _run(program: str, *words: object, pack: Path) -> subprocess.CompletedProcess[str]:
    """Run a validator in the copy with a home of its own; skip without it."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    path = shutil.which(program, path=folders)
    if path is None:
        pytest.skip(f"{program} is not installed: pip install -e '.[validators]' or see above")
    home = pack.parent / "home"
    home.mkdir(exist_ok=True)
    return subprocess.run(
        [path, *map(str, words)], cwd=pack, env={**os.environ, "HOME": str(home)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def _broken(pack: Path, target: Path) -> Path:
    """A copy of the copy in which one skill has an unknown key, a wrong name and a dead link."""
    copy = Path(shutil.copytree(pack, target / "broken", symlinks=True))
    file = copy / ".claude" / "skills" / SKILLS[0] / "SKILL.md"
    text = file.read_text(encoding="utf-8")
    text = text.replace("\nname: ", "\nno-such-key: 1\nname: x", 1) + "\n[x](no/such/file.md)\n"
    file.write_text(text, encoding="utf-8")
    return copy


@pytest.mark.parametrize("skill", SKILLS)
def test_agentskills(skill: str, pack: Path) -> None:
    done = _run("agentskills", "validate", f".claude/skills/{skill}", pack=pack)
    assert done.returncode == 0, done.stdout + done.stderr


def test_agentskills_sees_a_fault(pack: Path, tmp_path: Path) -> None:
    broken = _broken(pack, tmp_path)
    done = _run("agentskills", "validate", f".claude/skills/{SKILLS[0]}", pack=broken)
    assert done.returncode == 1


def test_agnix(pack: Path) -> None:
    """No error, no warning; hints are not held against anyone."""
    done = _run("agnix", "--format", "json", ".", pack=pack)
    report = json.loads(done.stdout)
    wrong = [d for d in report["diagnostics"] if d["level"] in ("error", "warning")]
    assert not wrong, "\n".join(f"{d['file']}:{d['line']} {d['message']}" for d in wrong)
    assert report["files_checked"] >= len(SKILLS)


def test_agnix_sees_a_fault(pack: Path, tmp_path: Path) -> None:
    done = _run("agnix", "--format", "json", ".", pack=_broken(pack, tmp_path))
    assert any(d["level"] == "error" for d in json.loads(done.stdout)["diagnostics"])


def test_skillsaw(pack: Path) -> None:
    done = _run("skillsaw", "lint", ".", "--strict", "--format", "json", pack=pack)
    report = json.loads(done.stdout)
    wrong = [v for v in report["violations"] if v["severity"] != "info"]
    assert not wrong, "\n".join(f"{v['file_path']}:{v['line']} {v['message']}" for v in wrong)
    assert done.returncode == 0
    assert report["stats"]["skills"] == len(SKILLS)
    assert report["summary"]["grade"]["letter"] in ("A", "A+")


def test_skillsaw_sees_a_fault(pack: Path, tmp_path: Path) -> None:
    done = _run("skillsaw", "lint", ".", "--strict", pack=_broken(pack, tmp_path))
    assert done.returncode == 1


@pytest.mark.parametrize("target", [".", ".claude/skills"])
def test_claude_plugin(target: str, pack: Path) -> None:
    """The manifest and the skills are two runs: given the root, it looks at the manifest only."""
    done = _run("claude", "plugin", "validate", target, pack=pack)
    if "No manifest found in directory" in done.stdout + done.stderr and target != ".":
        pytest.skip("this claude validates no folder of skills: 2.1.240 does")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Validation passed" in done.stdout + done.stderr


def test_the_versions_are_pinned() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (extra,) = re.findall(r"^validators = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    pins = dict(re.findall(r'"([\w-]+)==([\w.]+)[";]', extra))
    assert set(pins) == {"skills-ref", "agnix", "skillsaw"}
