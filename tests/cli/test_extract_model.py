"""scripts/extract_model.py from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "extract_model.py"
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
NEMOTRON = CONFIGS / "nvidia__Nemotron-H-56B-Base-8K.json"


def _run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


def _strict(text: str) -> Any:  # noqa: ANN401
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_writes_both_files(tmp_path: Path) -> None:
    done = _run(tmp_path, "--config", NEMOTRON, "--output", "here", "--json")
    assert done.returncode == 0, done.stderr
    published = (tmp_path / "here" / "model_config.json").read_bytes()
    assert published == NEMOTRON.read_bytes()
    document = _strict((tmp_path / "here" / "model_architecture.json").read_text("utf-8"))
    assert document["name"] == "nemotron-h-56b-base-8k"
    assert document["layer_counts"] == {"mamba/none": 54, "none/dense": 54, "attention/none": 10}
    assert document["sources"]["mamba.state_size"] == "ssm_state_size"
    printed = _strict(done.stdout)
    assert printed.pop("files") == ["here/model_config.json", "here/model_architecture.json"]
    assert printed == document


def test_default_folder_and_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = _run(tmp_path, "--config", CONFIGS / "meta-llama__Llama-3.1-8B.json")
        assert done.returncode == 0, done.stderr
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == [
        "out/models/llama-3.1-8b/model_architecture.json",
        "out/models/llama-3.1-8b/model_config.json",
    ]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_summary_names_values_and_sources(path: Path) -> None:
    from kernelkit.models.config import parse_config
    from kernelkit.models.summary import summary

    spec = parse_config(json.loads(path.read_bytes()))
    text = summary(spec, path.stem)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == f"{path.stem}: {spec.architecture}"
    assert f"hidden size {spec.hidden_size} {spec.sources['hidden_size']}" in lines
    assert f"vocabulary {spec.vocab_size} {spec.sources['vocab_size']}" in lines
    pattern = spec.sources["layers"]
    for kind, count in spec.counts().items():
        assert f"{kind} {count} {pattern}".strip() in lines
        pattern = ""
    gate = spec.attention is not None and spec.attention.output_gate
    assert any(line.startswith("output gate yes ") for line in lines) == gate
    assert any(line.startswith("rope theta ") for line in lines) == (spec.rope is not None)
    heads = {"attention": "query heads", "mla": "MLA heads", "gdn": "GDN heads",
             "mamba": "Mamba heads", "moe": "experts", "quantization": "quantization"}  # fmt: skip
    for part, words in heads.items():
        shown = any(line.startswith(words) for line in lines)
        assert shown == (getattr(spec, part) is not None), part
    assert "None" not in text


def test_terminal_text(tmp_path: Path) -> None:
    done = _run(tmp_path, "--config", CONFIGS / "deepseek-ai__DeepSeek-V3.2-Exp.json", "--dry-run")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        "mla/dense 3 mixers: class default: DeepseekV32Config; "
        "MLPs: first_k_dense_replace, moe_layer_freq",
        "mla/moe 58",
        "MLA ranks q 1536, kv 512 kv_lora_rank",
        "DSA indexer 64 heads of 128, top 2048 index_topk",
        "experts 256, 8 per token n_routed_experts",
        "quantization fp8_block (linear, experts) quantization_config",
    ):
        assert line in lines, done.stdout
    assert list(tmp_path.iterdir()) == []


def test_undecided_families_are_shown(tmp_path: Path) -> None:
    config = json.loads((CONFIGS / "deepseek-ai__DeepSeek-V2-Lite.json").read_bytes())
    config["topk_method"] = "group_limited_greedy"
    (tmp_path / "config.json").write_text(json.dumps(config))
    done = _run(tmp_path, "--config", "config.json", "--dry-run")
    assert done.returncode == 0 and "undecided: moe (no routing is known for" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "--model-id --config"),
        (["--model-id", "a/b", "--config", "x"], 2, "not allowed with"),
        (["--config", "absent.json"], 2, "does not exist"),
        (["--config", "."], 2, "is a folder"),
        (["--config", "bad.json"], 1, "not JSON"),
        (["--config", "empty.json"], 1, "no language model is recognised"),
        (["--config", "short.json"], 1, "num_hidden_layers"),
        (["--config", "bad.json", "--revision", "main"], 2, "--revision needs --model-id"),
        (["--config", str(NEMOTRON), "--output", "bad.json"], 2, "cannot write to"),
    ],
)
def test_bad_input(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    (tmp_path / "bad.json").write_text("{'a'}")
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "short.json").write_text(
        '{"architectures": ["LlamaForCausalLM"], "hidden_size": 8}'
    )
    before = sorted(tmp_path.rglob("*"))
    done = _run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr and "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
