"""scripts/discover_models.py from the command line."""

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
SCRIPT = ROOT / "scripts" / "discover_models.py"
CONFIGS = ROOT / "tests" / "fixtures" / "configs"
QWEN = CONFIGS / "Qwen__Qwen3-30B-A3B.json"
LLAMA = CONFIGS / "meta-llama__Llama-3.1-8B.json"


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """A FlashInfer with one norm and a SGLang that calls it."""
    package = tmp_path / "fi" / "flashinfer"
    models = tmp_path / "sgl" / "sglang" / "srt" / "models"
    package.mkdir(parents=True)
    models.mkdir(parents=True)
    for name in ("__init__.py", "api_logging.py"):
        (package / name).touch()
    (package / "norm.py").write_text("@flashinfer_api(trace=t)\ndef rmsnorm(x): ...\n")
    registry = models.parent / "layers" / "attention" / "attention_registry.py"
    registry.parent.mkdir(parents=True)
    registry.write_text(
        '@register_attention_backend("flashinfer")\ndef make(runner):\n    return None\n'
    )
    (models / "llama.py").write_text(
        "from flashinfer.norm import rmsnorm\n\n"
        "class LlamaForCausalLM:\n    def forward(self, x):\n        return rmsnorm(x)\n\n"
        "EntryClass = [LlamaForCausalLM]\n"
    )
    return ["--flashinfer-path", str(package.parent), "--sglang-path", str(tmp_path / "sgl")]


def _run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The script's main in `cwd`, in this process: a start of Python costs more than the work."""
    spec = importlib.util.spec_from_file_location("cli_discover_models", SCRIPT)
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


def test_a_manifest_is_written_and_a_second_run_leaves_it(
    tmp_path: Path, sources: list[str]
) -> None:
    words = ["--config", LLAMA, "--tp-list", "1,8", "--manifest", "out/run.json", *sources]
    done = _run(tmp_path, *words, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    path = tmp_path / "out" / "run.json"
    written = json.loads(path.read_text())
    assert {k: v for k, v in written.items() if k not in ("updated", "date")} == {
        k: v for k, v in printed.items() if k != "date"
    }
    kernels = {k["definition_name"]: k for k in written["kernels"]}
    norm = kernels["rmsnorm_h4096"]
    assert (norm["phase1_status"], norm["fi_status"], norm["sgl_status"]) == (
        "new", "fi_supported", "sgl_integrated",
    )  # fmt: skip
    assert {e["about"] for e in norm["evidence"]} == {"flashinfer", "sglang"}
    assert kernels["top_p_sampling_from_probs_v128256"]["fi_status"] == "fi_missing"
    assert kernels["top_p_sampling_from_probs_v128256"]["sgl_status"] == "n/a"
    before = path.read_bytes()
    again = _run(tmp_path, *words)
    assert again.returncode == 0 and "unchanged: out/run.json" in again.stdout
    assert path.read_bytes() == before


def test_a_dry_run_writes_nothing(tmp_path: Path, sources: list[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = _run(tmp_path, "--config", QWEN, "--manifest", "out/m.json", "--dry-run", *sources)
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert "has no class 'Qwen3MoeForCausalLM'" in done.stderr


def test_another_models_manifest_is_left_alone(tmp_path: Path, sources: list[str]) -> None:
    path = tmp_path / "m.json"
    assert _run(tmp_path, "--config", LLAMA, "--manifest", path, *sources).returncode == 0
    before = path.read_bytes()
    done = _run(tmp_path, "--config", QWEN, "--manifest", path, *sources)
    assert (done.returncode, path.read_bytes()) == (1, before)
    assert "another model" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "no model given"),
        (["--config", "none.json"], 2, "does not exist"),
        (["--config", LLAMA, "--dataset", "none"], 2, "no such dataset"),
        (["--config", LLAMA, "--sglang-path", "none"], 2, "SGLang"),
        (["--config", LLAMA, "--flashinfer-path", "none"], 2, "no FlashInfer sources"),
        (["--config", LLAMA, "--op-types", "norm"], 2, "no such op type"),
        (["--config", LLAMA, "--op-types", "gdn"], 4, "no definition follows"),
        (["--config", LLAMA, "--manifest", "/proc/none/m.json"], 2, "cannot write"),
        (["--discover", "--config", LLAMA], 2, "takes none"),
        (["--discover", "--since", "v1", "--sglang-path", "none"], 2, "SGLang"),
        (["--since", "v1", "--config", LLAMA], 2, "--discover"),
        (["--discover", "--cookbook", "none"], 2, "no checkout of sgl-cookbook"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, words: list[object], code: int, message: str) -> None:
    done = _run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_discover(tmp_path: Path, sources: list[str]) -> None:
    done = _run(tmp_path, "--discover", *sources[2:], "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [a["name"] for a in found["architectures"]] == ["LlamaForCausalLM"]
    assert found["architectures"][0]["file"] == "sglang/srt/models/llama.py"
    assert found["models"] == []
