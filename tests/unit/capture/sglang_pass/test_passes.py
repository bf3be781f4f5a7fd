"""Whole passes with an engine that stands in for SGLang: processes, recordings, report, faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import run_sglang_pass
from kernelkit.capture.normalize import context
from kernelkit.capture.recording import find

TOY = Path(__file__).resolve().parents[3] / "fixtures" / "toy_sglang"
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "vocab_size": 1000, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the script in the toy's environment; returns exit code, document and stderr."""
    pytest.importorskip("torch")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    monkeypatch.setenv("PYTHONPATH", str(TOY))
    monkeypatch.setenv("TOY_PIDS", str(tmp_path / "pids"))

    def call(*more: str, fails: str = "") -> tuple[int, dict[str, Any], str]:
        monkeypatch.setenv("TOY_FAILS", fails)
        arguments = ["--model-name", "toy", "--config", str(tmp_path / "config.json"), "--json",
                     "--output", str(tmp_path / "out"), "--timeout", "60", *more]  # fmt: skip
        code = run_sglang_pass.main(arguments)
        printed = capsys.readouterr()
        return code, json.loads(printed.out or "{}"), printed.err

    return call


def no_process_is_left(tmp_path: Path) -> bool:
    pids = [int(p) for p in (tmp_path / "pids").read_text().split()]
    return pids != [] and not any(_alive(pid) for pid in pids)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def test_both_variants_show_what_the_config_implies(run: Any, tmp_path: Path) -> None:
    code, document, _ = run("--tp-list", "2")
    status = {row["definition"]: row["status"] for row in document["definitions"]}
    assert code == 0, document
    shown = {name for name, what in status.items() if what == "captured"}
    assert shown == {
        "rmsnorm_h256", "fused_add_rmsnorm_h256", "gqa_paged_decode_h4_kv1_d64_ps1",
        "gqa_paged_prefill_causal_h4_kv1_d64_ps1", "gqa_ragged_prefill_causal_h4_kv1_d64",
        "top_k_top_p_sampling_from_probs_v1000",
    }  # fmt: skip
    assert "missing" not in status.values()
    assert document["unmatched"] == []
    reasons = {row["definition"]: row["reason"] for row in document["definitions"]}
    assert "sampler.py:245" in reasons["top_k_sampling_from_probs_v1000"]
    assert no_process_is_left(tmp_path)
    has_context_of_the_calls(tmp_path)


def has_context_of_the_calls(tmp_path: Path) -> None:
    """What a raw dump loses stands beside it."""
    path = tmp_path / "out" / "trace_dump" / "tp2-ep1-ps1-base" / context.CONTEXT_FILE
    calls = [line.call for line in context.read(path) if line.call]
    decode = next(c for c in calls if c.api.endswith("BatchDecodeWithPagedKVCacheWrapper.run"))
    known = decode.known()
    assert (known.kv_rank, known.num_kv_heads, known.page_size) == (3, 1, 1)
    assert (known.kv_layout, known.stage, known.sm_scale) == ("NHD", "decode", 0.125)
    ragged = next(c for c in calls if "Ragged" in c.api)
    assert ragged.known().causal is True
    norm = next(c for c in calls if c.api.endswith(".rmsnorm"))
    assert (norm.known().eps, norm.model, norm.tp, norm.weights) == (1e-5, "toy", 2, "dummy")
    assert decode.calls == 12  # 2 layers, 3 decode steps in each of 2 batches


@pytest.mark.parametrize(
    ("fails", "code", "status", "attempts"),
    [("oom", 1, "out of memory", 3), ("no_gpu", 3, "no device", 1),
     ("refuse", 1, "FlashInfer refused", 1)],
)  # fmt: skip
def test_a_failure_is_one_line_with_what_to_try(
    run: Any, fails: str, code: int, status: str, attempts: int
) -> None:
    got, document, _ = run(fails=fails)
    first, second = document["passes"]
    assert (got, first["status"], first["attempts"]) == (code, status, attempts)
    assert first["detail"] and first["hint"]
    assert second["status"] == "not run"  # without --keep-going
    assert {row["status"] for row in document["definitions"]} <= {"not routed", "not run"}


def test_less_memory_a_hang_and_resume(run: Any, tmp_path: Path) -> None:
    code, document, said = run("--variants", "base", fails="oom_once")
    assert code == 0, document
    (result,) = document["passes"]
    assert (result["status"], result["attempts"]) == ("ok", 2)
    assert "max_total_tokens=1024" in said
    logs = sorted(path.name for path in (tmp_path / "out" / "passes").rglob("*.log"))
    assert logs == ["attempt-1.log", "attempt-2.log"]
    before = find(tmp_path / "out" / "record")

    code, document, _ = run("--timeout", "6", "--resume", fails="hang")
    assert code == 5
    assert [p["status"] for p in document["passes"]] == ["ok", "timeout"]
    assert no_process_is_left(tmp_path)

    code, document, said = run("--resume")
    assert code == 0, document
    assert "base: done before" in said
    assert set(before) < set(find(tmp_path / "out" / "record"))


def test_a_dry_run_writes_nothing_and_prints_all(run: Any, tmp_path: Path) -> None:
    code, document, _ = run("--dry-run", "--tp-list", "1,2")
    assert code == 0
    assert [p["name"] for p in document["passes"]] == [
        "tp1-ep1-ps1-base", "tp1-ep1-ps1-paged", "tp2-ep1-ps1-base", "tp2-ep1-ps1-paged",
    ]  # fmt: skip
    assert document["passes"][3]["env"]["SGLANG_FLASHINFER_USE_PAGED"] == "1"
    assert not (tmp_path / "out").exists()


def test_without_sglang_the_missing_package_is_named(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")
    pytest.importorskip("torch")
    code, _, said = run()
    assert code == 3
    assert "sglang" in said


def test_an_interrupt_ends_the_engine(run: Any, tmp_path: Path) -> None:
    script = Path(run_sglang_pass.__file__)
    command = [sys.executable, str(script), "--config", str(tmp_path / "config.json"),
               "--output", str(tmp_path / "out"), "--variants", "base"]  # fmt: skip
    with subprocess.Popen(
        command, env={**os.environ, "TOY_FAILS": "hang"}, stderr=subprocess.PIPE, text=True
    ) as process:
        for _ in range(600):
            if (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted" in said
    assert no_process_is_left(tmp_path)
