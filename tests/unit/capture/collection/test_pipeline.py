"""The whole pipeline with engines and servers that stand in for SGLang's."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import collect_workloads
import derive_definitions
from kernelkit.capture.collection import pipeline

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
SCRIPT = Path(__file__).resolve().parents[4] / "scripts" / "collect_workloads.py"
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "vocab_size": 1000, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}  # fmt: skip
DECODE, RAGGED = "gqa_paged_decode_h8_kv2_d64_ps1", "gqa_ragged_prefill_causal_h8_kv2_d64"


@pytest.fixture
def collect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Run the script; returns exit code, document, stderr. `arguments` gives its command line."""
    pytest.importorskip("torch")
    config, dataset = tmp_path / "config.json", tmp_path / "dataset"
    config.write_text(json.dumps(CONFIG))
    derive_definitions.main(["--config", str(config), "--model-name", "toy", "--page-sizes", "1",
                             "--dataset", str(dataset), "--create", "--json"])  # fmt: skip
    capsys.readouterr()
    monkeypatch.setenv("PYTHONPATH", str(FIXTURES / "toy_sglang"))
    monkeypatch.setenv("TOY_PIDS", str(tmp_path / "pids"))

    def call(*more: str, fails: str = "") -> tuple[int, dict[str, Any], str]:
        monkeypatch.setenv("TOY_FAILS", fails)
        code = collect_workloads.main([*call.arguments, *more])
        printed = capsys.readouterr()
        return code, json.loads(printed.out or "{}"), printed.err

    call.arguments = [  # type: ignore[attr-defined]
        "--dataset-dir", str(dataset), "--config", str(config), "--model-name", "toy",
        "--output", str(tmp_path / "run"), "--isl", "64", "--osl", "4", "--num-prompts", "8",
        "--batch-sizes", "1,4", "--num-batches", "1", "--json",
    ]  # fmt: skip
    return call


def added(document: dict[str, Any]) -> dict[str, int]:
    return {row["name"]: row["added"] for row in document["definitions"] if row["added"]}


def left_alive(tmp_path: Path) -> list[int]:
    found = []
    for pid in (tmp_path / "pids").read_text().split():
        path = Path(f"/proc/{pid}/stat")
        if path.exists() and path.read_text().rpartition(")")[2].split()[0] not in ("Z", "X"):
            found.append(int(pid))
    return found


def test_decode_batches_are_exact_and_a_second_run_adds_nothing(
    collect: Any, tmp_path: Path
) -> None:
    wanted = ["--definition-names", DECODE]
    code, document, said = collect(*wanted)
    assert code == 0, said
    lines = (tmp_path / "dataset" / "workloads" / "gqa_paged" / f"{DECODE}.jsonl").read_text()
    rows = [json.loads(line)["workload"] for line in lines.splitlines()]
    assert {row["axes"]["batch_size"] for row in rows} == {1, 4}
    assert all(row["axes"]["num_pages"] == 2049 for row in rows)  # the pool, not the largest index
    assert rows[0]["provenance"]["model"] == "toy"
    assert rows[0]["provenance"]["weights"] == "dummy"
    assert "dataset has no FlashInfer solution" in said
    assert "switch -c workloads-" in document["submission"]["commands"]
    assert not (tmp_path / "dataset" / ".git").exists()
    assert "not a git repository" in said and "make_baselines.py" in said
    assert f"| `{DECODE}` |" in (tmp_path / "run" / "pull_request.md").read_text()
    code, document, said = collect(*wanted, "--resume")
    assert (code, added(document)) == (0, {})
    assert "record: done before" in said and "submission" not in document
    a_later_run_hands_in_what_the_first_one_wrote(collect, tmp_path, len(rows))


def a_later_run_hands_in_what_the_first_one_wrote(collect: Any, tmp_path: Path, count: int) -> None:
    remote, git = tmp_path / "remote.git", ["git", "-C", str(tmp_path / "dataset")]
    for command in (
        ["git", "init", "-q", "--bare", str(remote)], [*git, "init", "-q"],
        [*git, "config", "user.name", "t"], [*git, "config", "user.email", "t@example.com"],
        [*git, "add", "definitions"], [*git, "commit", "-qm", "Definitions"],
        [*git, "remote", "add", "origin", str(remote)],
    ):  # fmt: skip
        subprocess.run(command, check=True)
    again = ("--definition-names", DECODE, "--resume")
    code, document, said = collect(*again)
    assert "run again with --submit" in said and code == 0
    assert document["submission"]["title"].startswith(f"Add {count} workloads for gqa_paged")
    code, document, said = collect(*again, "--submit")
    shown = ["git", "-C", str(remote), "ls-tree", "-r", "--name-only",
             document["submission"]["branch"]]  # fmt: skip
    pushed = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert f"workloads/gqa_paged/{DECODE}.jsonl" in pushed.split() and code == 0
    assert "submission" not in collect(*again)[1]  # all of it is committed


def test_a_server_that_dies_loses_nothing_and_resume_goes_on(collect: Any, tmp_path: Path) -> None:
    wanted = ["--definition-names", RAGGED]
    code, document, said = collect(*wanted, fails="server_dies")
    assert code == 1
    assert "the scheduler has died" in said
    assert added(document)[RAGGED] >= 1  # what was recorded before is kept
    assert left_alive(tmp_path) == []
    before = added(document)[RAGGED]
    code, document, _ = collect(*wanted, "--resume")
    assert code == 0
    assert added(document).get(RAGGED, 0) + before > before


def test_a_killed_collector_leaves_no_process(collect: Any, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), *collect.arguments, "--definition-names", DECODE]
    env = {**os.environ, "TOY_FAILS": "hang"}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        for _ in range(600):
            if (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    for _ in range(150):
        if not left_alive(tmp_path):
            return
        time.sleep(0.1)
    raise AssertionError(left_alive(tmp_path))


def test_the_disk_s_limit_ends_the_run_with_one_message(collect: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_bytes(b"x" * 5000)
    code, _, said = collect("--definition-names", DECODE, "--max-disk-gb", "0.000001")
    assert code == 1
    assert said.count("error:") == 1 and "--max-disk-gb" in said


def test_a_dry_run_shows_commands_environment_and_size(collect: Any, tmp_path: Path) -> None:
    code, document, _ = collect("--all", "--dry-run")
    assert code == 0
    names = [item["name"] for item in document["passes"]]
    assert names == ["tp1-ep1-ps1-base-engine-b1_4", "tp1-ep1-ps1-base-server",
                     "tp1-ep1-ps1-paged-server"]  # fmt: skip
    assert document["passes"][0]["command"][1].endswith("engine_main.py")
    assert "KERNELKIT_RECORDER" in document["passes"][1]["env"]
    assert document["estimated_bytes"]["level10"] > document["estimated_bytes"]["recorder"]
    assert not (tmp_path / "run").exists()


def test_a_plan_names_what_follows_from_the_norms(collect: Any) -> None:
    code, document, _ = collect("--op-type", "gemm,rmsnorm", "--dry-run")
    assert code == 0 and len(document["derived"]) == 3
    assert all(name.startswith("gemm_") for name in document["derived"])
    assert "\nderived     gemm_" in pipeline.as_lines(document)
    code, _, said = collect("--op-type", "gemm", "--dry-run")
    assert code == 4 and "--op-type gemm,rmsnorm" in said


def test_a_plan_s_lines_can_be_pasted_into_a_shell(collect: Any, tmp_path: Path) -> None:
    _, document, _ = collect("--all", "--dry-run", "--output", str(tmp_path / "my run"))
    lines = pipeline.as_lines(document).splitlines()
    env, command = (line.split(None, 1)[1] for line in (lines[1], lines[4]))
    first = document["passes"][0]
    assert shlex.split(command) == first["command"]
    assert shlex.split(env) == [f"{k}={v}" for k, v in first["env"].items()]


def test_without_a_fused_norm_gemms_get_nothing(collect: Any) -> None:
    names = "gemm_n256_k512,rmsnorm_h256"
    code, document, _ = collect("--definition-names", names, "--dry-run")
    assert (code, document["derived"]) == (0, {})
    assert "norm" in document["not_routed"]["gemm_n256_k512"]


def test_a_command_of_one_s_own_decides_the_sizes(collect: Any) -> None:
    own = ("--launch-command", "serve --tp-size 2")
    code, document, _ = collect("--definition-names", DECODE, "--dry-run", *own)
    assert code == 4, document  # its heads are those of TP 1


def test_a_file_of_conversations_that_is_not_there(collect: Any) -> None:
    code, _, said = collect("--dataset", "chats.jsonl", "--dry-run")
    assert code == 2 and "no such file of conversations; received: chats.jsonl" in said


def test_an_empty_launch_command_is_refused_before_anything_starts(collect: Any) -> None:
    code, _, said = collect("--all", "--dry-run", "--launch-command", "")
    assert code == 2 and "an empty launch command" in said


def test_a_dump_that_is_there_needs_no_server(collect: Any, tmp_path: Path) -> None:
    dump = SCRIPT.parent / "demo_assets" / "dump"
    code, document, said = collect("--dump", str(dump), "--dry-run")
    assert code == 4, said  # shapes of another model
    assert document["unmatched"]
    assert not (tmp_path / "run").exists()
