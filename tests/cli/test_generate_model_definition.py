"""scripts/generate_model_definition.py from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("tree_sitter_typescript", reason="tree-sitter is not installed")

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "generate_model_definition.py"
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
PAGE = ROOT / "tests" / "fixtures" / "web" / "models.ts"
LLAMA = CONFIGS / "meta-llama__Llama-3.1-8B.json"


def _run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_insert_check_and_again(tmp_path: Path) -> None:
    page = tmp_path / "models.ts"
    page.write_bytes(PAGE.read_bytes())
    words = ("--config", LLAMA, "--output", "models.ts", "--json")
    checked = _run(tmp_path, *words, "--check")
    assert checked.returncode == 1
    assert page.read_bytes() == PAGE.read_bytes()
    done = _run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["action"] == "inserted"
    report = "out/models/llama-3.1-8b/model_analysis_llama-3.1-8b.json"
    assert document["files"] == ["models.ts", report]
    assert json.loads((tmp_path / report).read_text("utf-8")) == document["analysis"]
    assert _run(tmp_path, *words, "--check").returncode == 0
    before = [(tmp_path / name).stat().st_mtime_ns for name in _files(tmp_path)]
    again = _run(tmp_path, *words)
    assert json.loads(again.stdout)["action"] == "unchanged"
    assert [(tmp_path / name).stat().st_mtime_ns for name in _files(tmp_path)] == before


def test_dry_run_and_check_write_nothing(tmp_path: Path) -> None:
    words = ("--config", LLAMA, "--output", "new/models.ts")
    shown = _run(tmp_path, *words, "--dry-run")
    assert shown.returncode == 0
    assert '+    id: "llama-3.1-8b",' in shown.stdout
    assert "would be created" in shown.stdout
    assert _run(tmp_path, *words, "--check").returncode == 1
    assert _files(tmp_path) == []


def test_without_a_file_the_entry_is_printed(tmp_path: Path) -> None:
    done = _run(tmp_path, "--config", LLAMA, "--dry-run")
    assert done.returncode == 0
    assert '\n  id: "llama-3.1-8b",\n' in done.stdout
    assert _run(tmp_path, "--config", LLAMA, "--check").returncode == 2


def test_the_checkout_is_the_default(tmp_path: Path) -> None:
    page = tmp_path / "web" / "apps" / "web" / "data" / "models.ts"
    page.parent.mkdir(parents=True)
    page.write_bytes(PAGE.read_bytes())
    done = _run(tmp_path, "--config", LLAMA, "--json")
    assert json.loads(done.stdout)["action"] == "inserted"
    assert b"llama-3.1-8b" in page.read_bytes()[1000:]


def test_words_that_somebody_wrote_stay(tmp_path: Path) -> None:
    page = tmp_path / "models.ts"
    page.write_bytes(PAGE.read_bytes())
    words = ("--config", LLAMA, "--model-name", "second-model", "--output", "models.ts")
    assert _run(tmp_path, *words).returncode == 0
    text = page.read_text("utf-8")
    assert 'name: "Second"' in text and "homepage" in text
    more = ("--display-name", "Third", "--description", "It's new.")
    assert _run(tmp_path, *words, *more).returncode == 0
    assert 'name: "Third"' in page.read_text("utf-8")
    assert _run(tmp_path, *words, "--check").returncode == 0


def test_a_broken_page_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "models.ts"
    page.write_text("const models = [\n  {\n    id: 'a',\n")
    done = _run(tmp_path, "--config", LLAMA, "--output", "models.ts")
    assert done.returncode == 1
    assert done.stderr.startswith("error: models.ts is not valid TypeScript")
    assert page.read_text() == "const models = [\n  {\n    id: 'a',\n"
    assert _files(tmp_path) == ["models.ts"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--config", "absent.json"], 2), (["--config", "."], 2), ([], 2),
        (["--config", LLAMA, "--output", "."], 2), (["--config", LLAMA, "--dataset", "absent"], 2),
        (["--config", LLAMA, "--keep-missing"], 2),
        (["--config", LLAMA, "--check", "--dry-run"], 2),
        (["--config", LLAMA, "--sglang-impl", "absent.json"], 2),
        (["--config", LLAMA, "--sglang-impl", LLAMA], 1), (["--config", PAGE], 1),
        (["--config", LLAMA, "--tp-list", "0"], 2),
    ],
)  # fmt: skip
def test_wrong_words(tmp_path: Path, words: list[object], code: int) -> None:
    done = _run(tmp_path, *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr
    assert _files(tmp_path) == []


def test_the_extracted_architecture_stands_for_its_config(tmp_path: Path) -> None:
    extract = ROOT / "scripts" / "extract_model.py"
    command = [sys.executable, str(extract), "--config", str(LLAMA), "--output", "llama-3.1-8b"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    architecture = tmp_path / "llama-3.1-8b" / "model_architecture.json"
    done = _run(tmp_path, "--config", architecture, "--dry-run", "--json")
    assert json.loads(done.stdout)["id"] == "llama-3.1-8b"
    (tmp_path / "llama-3.1-8b" / "model_config.json").unlink()
    assert _run(tmp_path, "--config", architecture, "--dry-run").returncode == 2


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.ts"
    real.write_bytes(PAGE.read_bytes())
    os.symlink("real.ts", tmp_path / "models.ts")
    assert _run(tmp_path, "--config", LLAMA, "--output", "models.ts").returncode == 0
    assert (tmp_path / "models.ts").is_symlink()
    assert b'"llama-3.1-8b"' in real.read_bytes()


def test_without_tree_sitter(tmp_path: Path) -> None:
    """A new file needs no parser; an existing one says what is missing, and stays."""
    (tmp_path / "tree_sitter.py").write_text("raise ImportError")
    command = [sys.executable, str(SCRIPT), "--config", str(LLAMA), "--output", "models.ts"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for code in (0, 3):
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
        )
        assert done.returncode == code, done.stderr
    assert "pip install tree-sitter" in done.stderr
    assert b'"llama-3.1-8b"' in (tmp_path / "models.ts").read_bytes()


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    from kernelkit.webmodel.models_file import ModelsFile

    paths = sorted(CONFIGS.glob("*.json"))[:4]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(_run, tmp_path, "--config", p, "--output", "m.ts") for p in paths]
    assert [run.result().returncode for run in runs] == [0] * len(paths)
    assert len(ModelsFile((tmp_path / "m.ts").read_bytes(), "m.ts").entries) == len(paths)
