"""scripts/update_coverage.py from the command line."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
LLAMA = CONFIGS / "meta-llama__Llama-3.1-8B.json"
NEXT = CONFIGS / "Qwen__Qwen3-Next-80B-A3B-Instruct.json"


def _script(cwd: Path, name: str, *words: object) -> subprocess.CompletedProcess[str]:
    """The script's main in `cwd`, in this process: a start of Python costs more than the work."""
    path = ROOT / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"cli_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err, back = io.StringIO(), io.StringIO(), os.getcwd()
    try:
        os.chdir(cwd)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = module.main([str(word) for word in words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os.chdir(back)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def _run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return _script(cwd, "update_coverage", "--document", "d.mdx", "--dataset", "ds", *words)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of Llama-3.1-8B."""
    folder = tmp_path_factory.mktemp("coverage")
    done = _script(folder, "derive_definitions", "--config", LLAMA, "--dataset", "ds", "--create")
    assert done.returncode == 0, done.stderr
    return folder


def test_write_check_and_again(place: Path) -> None:
    document = place / "d.mdx"
    document.unlink(missing_ok=True)
    assert _run(place, "--config", LLAMA, "--create", "--dry-run").returncode == 0
    assert not document.exists()
    done = _run(place, "--config", LLAMA, "--create")
    assert done.returncode == 0 and "0 contradictions left" in done.stdout, done.stderr
    done = _run(place, "--config", NEXT, "--tp-list", "2,4", "--json")
    assert json.loads(done.stdout)["findings"] == []
    before = document.read_bytes()
    for words in (["--config", LLAMA], ["--config", NEXT, "--tp-list", "2,4"],
                  ["--configs", CONFIGS], ["--refresh-status"]):  # fmt: skip
        done = _run(place, *words)
        assert done.returncode == 0 and "nothing to change" in done.stdout, (words, done.stdout)
    assert document.read_bytes() == before
    done = _run(place, "--configs", CONFIGS, "--check", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["models"] == ["Qwen3 Next 80B A3B", "Llama 3.1 8B"]


def test_check_finds_what_was_planted_and_writes_nothing(place: Path) -> None:
    document = place / "d.mdx"
    _run(place, "--config", LLAMA, "--create")
    text = document.read_text("utf-8")
    planted = text.replace("`gemm_n28672_k4096` | gemm | 🟡", "`gemm_n28872_k4096` | gemm | ✅", 1)
    assert planted != text
    document.write_text(planted, "utf-8")
    done = _run(place, "--config", LLAMA, "--check", "--json")
    assert done.returncode == 1
    kinds = {f["kind"] for f in json.loads(done.stdout)["findings"]}
    assert kinds >= {"absent", "sizes", "unlisted", "untracked"}
    assert document.read_text("utf-8") == planted
    assert _run(place, "--check").returncode == 1  # without a config: the files alone tell
    done = _run(place, "--config", LLAMA, "--prune")
    assert done.returncode == 0 and "0 contradictions left" in done.stdout
    fixed = document.read_text("utf-8")
    assert "28872" not in fixed and sorted(fixed.splitlines()) == sorted(text.splitlines())


def test_a_bad_config_of_a_folder_hides_no_other(place: Path, tmp_path: Path) -> None:
    _run(place, "--config", LLAMA, "--create")
    (tmp_path / "a__bad.json").write_text("{")
    (tmp_path / LLAMA.name).write_bytes(LLAMA.read_bytes())
    done = _run(place, "--configs", tmp_path, "--check")
    assert "a__bad.json left out" in done.stderr and "Traceback" not in done.stderr
    assert "contradictions" in done.stdout


def test_a_named_section(place: Path) -> None:
    done = _run(place, "--config", LLAMA, "--create", "--section", "My Llama", "--dry-run")
    assert done.returncode == 0 and "+## My Llama" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--config", LLAMA], 2, "cannot be read"),
        (["--create"], 2, "no model given"),
        (["--create", "--configs", "ds"], 4, "no ORG__NAME.json"),
        (["--create", "--config", "none.json"], 2, "does not exist"),
        (["--create", "--configs", CONFIGS, "--section", "X"], 2, "for one model"),
        (["--create", "--refresh-status", "--model-name", "x"], 2, "for one model"),
        (["--create", "--refresh-status", "--config", LLAMA], 2, "not allowed with"),
    ],
)
def test_errors_are_one_line(place: Path, words: list[object], code: int, message: str) -> None:
    (place / "d.mdx").unlink(missing_ok=True)
    done = _run(place, *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (place / "d.mdx").exists()


def test_an_unwritable_folder(place: Path) -> None:
    words = ["--document", "/proc/none/d.mdx", "--dataset", "ds", "--config", LLAMA, "--create"]
    done = _script(place, "update_coverage", *words)
    assert done.returncode == 2 and "cannot write" in done.stderr, done.stderr
