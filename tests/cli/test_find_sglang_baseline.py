"""scripts/find_sglang_baseline.py from the command line, on the made-up tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "find_sglang_baseline.py"
TREE = ROOT / "tests" / "fixtures" / "sglang_tree"
CONFIG = {
    "architectures": ["TinyForCausalLM"], "model_type": "llama", "hidden_size": 64,
    "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 16,
    "intermediate_size": 96, "vocab_size": 100, "rms_norm_eps": 1e-5,
}  # fmt: skip


def _run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


def test_writes_the_document_and_the_same_again(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    words = ("--config", "config.json", "--sglang-path", TREE, "--flashinfer-path", TREE)
    first = _run(tmp_path, *words, "--json")
    assert first.returncode == 0, first.stderr
    path = tmp_path / "sglang_implementation.json"
    written = path.read_bytes()
    assert json.loads(written) == json.loads(first.stdout)
    document = json.loads(written)
    assert document["architecture"] == "TinyForCausalLM"
    layers = [m for m in document["modules"] if m["layer_class"] == "TinyLayer"]
    assert [m["count"] for m in layers] == [3]
    before = path.stat().st_mtime_ns
    again = _run(tmp_path, *words)
    assert again.returncode == 0 and "unchanged: sglang_implementation.json" in again.stdout
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (written, before)


def test_by_name_and_dry_run(tmp_path: Path) -> None:
    done = _run(tmp_path, "--model-name", "tiny_moe", "--sglang-path", TREE, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("TinyMoeForCausalLM in SGLang 9.9.1")
    assert "TinyExperts" in done.stdout and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--sglang-path", TREE], 2, "no model given"),
        (["--model-name", "tiny"], 2, "--sglang-path --sglang-installed"),
        (["--model-name", "absent", "--sglang-path", TREE], 4, "has no class"),
        (["--model-name", "tiny", "--sglang-path", "absent"], 2, "no such folder"),
        (["--model-name", "tiny", "--sglang-path", "."], 2, "holds no SGLang sources"),
        (["--model-name", "tiny", "--sglang-path", TREE, "--flashinfer-path", "."], 2,
         "holds no FlashInfer sources"),
        (["--model-name", "tiny", "--sglang-path", TREE, "--attention-backend", "x"], 2,
         "no such attention backend"),
        (["--model-name", "tiny", "--sglang-path", TREE, "--compute-capability", "90"], 2,
         "expected e.g. 9.0"),
        (["--config", "absent.json", "--sglang-path", TREE], 2, "does not exist"),
    ],
)  # fmt: skip
def test_bad_input(tmp_path: Path, words: list[object], code: int, message: str) -> None:
    done = _run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
