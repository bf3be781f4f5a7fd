"""scripts/clone_repos.py from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "clone_repos.py"
NAMES = ("sglang", "flashinfer", "sgl-cookbook", "flashinfer-trace")


def _git(at: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *words], cwd=at, check=True, capture_output=True)


@pytest.fixture
def hosted(tmp_path: Path) -> list[str]:
    """Mirror options for four bare repositories."""
    words = []
    for name in NAMES:
        tree, bare = tmp_path / f"{name}-tree", tmp_path / f"{name}.git"
        tree.mkdir()
        _git(tree, "init", "-q")
        (tree / "file").write_text(name)
        _git(tree, "add", "file")
        _git(tree, "commit", "-qm", "first")
        _git(tmp_path, "clone", "-q", "--bare", str(tree), str(bare))
        words += ["--mirror", f"{name}={bare.name}"]  # relative to where the script runs
    return words


def _run(
    cwd: Path, *words: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *words]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, **(env or {})}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=60
    )


def test_all_four(tmp_path: Path, hosted: list[str]) -> None:
    done = _run(tmp_path, *hosted, "--dry-run")
    assert done.returncode == 0 and done.stdout.count("would clone") == 4
    assert not (tmp_path / "tmp").exists()
    done = _run(tmp_path, *hosted, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [r["action"] for r in document["repositories"]] == ["cloned"] * 4
    config = json.loads(Path(document["config"]).read_text())
    assert {n: e["sha"] for n, e in config["repositories"].items()} == {
        r["name"]: r["sha"] for r in document["repositories"]
    }
    again = _run(tmp_path)  # without mirrors: from each checkout's own origin
    assert again.returncode == 0 and again.stdout.count("current") == 4
    assert (tmp_path / "tmp" / "flashinfer-trace" / "file").read_text() == "flashinfer-trace"


def test_one_failure_is_named_and_stops_no_other(tmp_path: Path, hosted: list[str]) -> None:
    hosted[3] = "flashinfer=absent.git"
    done = _run(tmp_path, *hosted, "--target-dir", "repos")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stdout.count("cloned") == 3
    assert "1 of 4 not as asked for: flashinfer" in done.stdout


def test_refusal_lists_what_would_be_lost(tmp_path: Path, hosted: list[str]) -> None:
    words = [*hosted[:2], "--repos", "sglang"]
    _run(tmp_path, *words)
    tree = tmp_path / "sglang-tree"
    (tree / "file").write_text("theirs")
    _git(tree, "commit", "-qam", "second")
    _git(tree, "push", "-q", str(tmp_path / "sglang.git"), "HEAD")
    (tmp_path / "tmp/sglang/file").write_text("mine")
    done = _run(tmp_path, *words)
    assert done.returncode == 1 and "would be lost:\n      modified: file" in done.stdout
    done = _run(tmp_path, *words, "--force")
    assert done.returncode == 0 and "thrown away:\n      modified: file" in done.stdout
    assert (tmp_path / "tmp/sglang/file").read_text() == "theirs"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--repos", "vllm"], 2, "sgl-cookbook"),
        (["--repos", "sglang,"], 2, "empty name"),
        (["--mirror", "sglang"], 2, "NAME=URL|PATH"),
        (["--depth", "0"], 2, "1 or more"),
        (["--jobs", "0"], 2, "1 or more"),
        (["--retries", "-1"], 2, "0 or more"),
        (["--repos", "flashinfer", "--sglang-branch", "main"], 2, "--repos leaves out"),
        (["--sglang-branch", ""], 2, "empty"),
        (["--offline", "--force"], 2, "only records"),
        (["--target-dir", "a-file/tmp", "--offline"], 2, "cannot be made"),
        (["--target-dir", "broken", "--offline"], 1, "not a repos_config.json"),
    ],
)
def test_bad_input(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "repos_config.json").write_text("[1]")
    before = sorted(tmp_path.rglob("*"))
    done = _run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_without_git(tmp_path: Path) -> None:
    done = _run(tmp_path, env={"PATH": str(tmp_path)})
    assert done.returncode == 3 and "git is not installed" in done.stderr


def test_with_nothing_but_the_standard_library(tmp_path: Path, hosted: list[str]) -> None:
    command = [sys.executable, "-S", "-E", str(SCRIPT), *hosted, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["failed"] == []
