"""scripts/add_model.py from the command line, on a small tree of SGLang's form."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tree_sitter_typescript", reason="tree-sitter is not installed")

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
LLAMA = CONFIGS / "meta-llama__Llama-3.1-8B.json"
MODEL = """
from torch import nn

class LlamaAttention(nn.Module):
    def __init__(self, config):
        self.qkv_proj = QKVParallelLinear(config.hidden_size)
        self.o_proj = RowParallelLinear(config.hidden_size)

class LlamaDecoderLayer(nn.Module):
    def __init__(self, config):
        self.self_attn = LlamaAttention(config)

class LlamaModel(nn.Module):
    def __init__(self, config):
        self.layers = make_layers(
            config.num_hidden_layers, lambda idx, prefix: LlamaDecoderLayer(config)
        )

class LlamaForCausalLM(nn.Module):
    def __init__(self, config):
        self.model = LlamaModel(config)

EntryClass = [LlamaForCausalLM]
"""


def _run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "add_model.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The tests' tree of SGLang-like sources, with one more model file."""
    tree = Path(shutil.copytree(ROOT / "tests" / "fixtures" / "sglang_tree", tmp_path / "sgl"))
    (tree / "sglang" / "srt" / "models" / "llama.py").write_text(MODEL)
    return tree


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset with the model's attention."""
    command = [sys.executable, str(SCRIPTS / "derive_definitions.py"), "--config", str(LLAMA),
               "--dataset", "ds", "--create", "--op-types", "gqa_paged"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    return tmp_path / "ds"


def _steps(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in json.loads(done.stdout)["steps"]}


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_steps_and_again(tmp_path: Path, sources: Path, dataset: Path) -> None:
    words = ("--config", LLAMA, "--sglang-path", sources, "--dataset", dataset,
             "--output", "models.ts", "--output-dir", "x", "--json")  # fmt: skip
    done = _run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert {name: step["status"] for name, step in _steps(done).items()} == {
        "extract": "done", "baseline": "done", "inventory": "done", "entry": "done"}  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "manifest.json", "model_analysis_llama-3.1-8b.json", "model_architecture.json",
        "model_config.json", "sglang_implementation.json",
    ]  # fmt: skip
    report = json.loads((tmp_path / "x" / "model_analysis_llama-3.1-8b.json").read_text())
    assert report["sglang"]["entry_class"] == "LlamaForCausalLM"
    assert report["modules"]["attn"]["definitions"] == [
        "gqa_paged_decode_h32_kv8_d128_ps1", "gqa_paged_prefill_causal_h32_kv8_d128_ps1",
        "gqa_paged_decode_h32_kv8_d128_ps64", "gqa_paged_prefill_causal_h32_kv8_d128_ps64",
    ]  # fmt: skip
    assert report["modules"]["qkv_proj"]["definitions"] == []
    assert "gemm_n6144_k4096" in {row["definition"] for row in report["missing"]}
    before = _contents(tmp_path)
    assert json.loads(_run(tmp_path, *words).stdout)["action"] == "unchanged"
    assert _contents(tmp_path) == before


def test_steps_without_a_source_are_skipped(tmp_path: Path) -> None:
    done = _run(tmp_path, "--config", LLAMA, "--json")
    assert done.returncode == 0, done.stderr
    steps = _steps(done)
    assert steps["inventory"]["status"] == "skipped"
    assert "--dataset" in steps["inventory"]["note"]
    assert steps["entry"]["status"] == "done"


def test_a_class_that_sglang_lacks_is_said(tmp_path: Path, sources: Path) -> None:
    config = CONFIGS / "openai__gpt-oss-20b.json"
    done = _run(tmp_path, "--config", config, "--sglang-path", sources, "--json")
    assert done.returncode == 0
    step = _steps(done)["baseline"]
    assert (step["status"], step["files"]) == ("skipped", [])
    assert "GptOssForCausalLM" in step["note"]


def test_a_step_that_fails_does_not_stop_the_others(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "models.ts").write_text("const models = [")
    done = _run(tmp_path, "--config", LLAMA, "--dataset", dataset, "--output", "models.ts",
                "--manifest", "m.json", "--json")  # fmt: skip
    assert done.returncode == 1
    steps = _steps(done)
    assert steps["entry"]["status"] == "failed"
    assert "not valid TypeScript" in steps["entry"]["note"]
    assert steps["inventory"]["status"] == "done"
    assert (tmp_path / "m.json").is_file()


def test_dry_run_writes_nothing(tmp_path: Path, sources: Path, dataset: Path) -> None:
    before = _contents(tmp_path)
    done = _run(tmp_path, "--config", LLAMA, "--sglang-path", sources, "--dataset", dataset,
                "--output", "models.ts", "--dry-run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    assert _contents(tmp_path) == before


@pytest.mark.parametrize(
    "words", [["--sglang-path", "absent"], ["--dataset", "absent"], ["--sglang-path", "."]]
)
def test_a_wrong_path_is_an_error_before_anything(tmp_path: Path, words: list[str]) -> None:
    done = _run(tmp_path, "--config", LLAMA, *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert _contents(tmp_path) == {}
