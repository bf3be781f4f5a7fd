"""normalize_definitions.py as a person runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "normalize_definitions.py"
FLAT = {
    "name": "gqa_paged_decode_h32_kv128_d128_ps8",
    "op_type": "gqa_paged",
    "tags": ["fi_api:flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper.run", "status:verified"],
    "axes": {
        "num_qo_heads": {"type": "const", "value": 32},
        "num_kv_heads": {"type": "const", "value": 128},
        "head_dim": {"type": "const", "value": 128},
        "page_size": {"type": "const", "value": 8},
    },
    "inputs": {"q": {"shape": ["batch_size", "num_qo_heads", "head_dim"], "dtype": "bfloat16"}},
    "outputs": {},
}
NORM = {
    "name": "rmsnorm_h4096",
    "op_type": "rmsnorm",
    "tags": ["fi_api:flashinfer.norm.rmsnorm"],
    "axes": {"batch_size": {"type": "var"}, "hidden_size": {"type": "const", "value": 4096}},
    "inputs": {},
    "outputs": {},
}
UNKNOWN = {
    "name": "other_s4",
    "op_type": "other",
    "tags": ["fi_api:flashinfer.x.other"],
    "axes": {"rows": {"type": "var"}, "size": {"type": "const", "value": 4}},
    "inputs": {"x": {"shape": ["rows", "size"], "dtype": "float32"}},
    "outputs": {"y": {"shape": ["rows", "size"], "dtype": "float32"}},
    "reference": "import torch\n\n\ndef _other_reference(x):\n    return x.clone()\n",
}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two passes with dumps, one of them with a record."""
    made = tmp_path / "dumps"
    for name, documents in {"one": [FLAT, NORM], "two": [NORM, UNKNOWN]}.items():
        (made / name).mkdir(parents=True)
        for document in documents:
            path = made / name / f"{document['name']}.json"
            path.write_text(json.dumps(document))
    return made


def _run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--dump-dir", str(folder), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_written_once_and_unchanged_then(folder: Path, tmp_path: Path) -> None:
    words = ("--dataset", tmp_path / "set", "--create", "--no-smoke", "--tags", "model:m,tp:1")
    report = tmp_path / "report.json"
    first = _run(folder, *words, "--json", "--report", report)
    assert first.returncode == 0, first.stderr
    document = _document(first)
    assert document == json.loads(report.read_text())
    assert document["counts"]["normalized"] == 4
    assert document["counts"]["new"] == 3
    written = sorted(
        p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set").rglob("*.json")
    )
    assert written == [
        "definitions/gqa_paged/gqa_paged_decode_h32_kv8_d128_ps1.json",
        "definitions/other/other_s4.json",
        "definitions/rmsnorm/rmsnorm_h4096.json",
    ]
    norm = json.loads((tmp_path / "set" / written[2]).read_text())
    assert {"status:unverified", "model:m", "tp:1"} <= set(norm["tags"])
    again = _document(_run(folder, *words, "--json"))
    assert again["counts"]["unchanged"] == 3
    assert "new" not in again["counts"]


def test_dry_run_writes_nothing_and_smoke_runs_references(folder: Path) -> None:
    pytest.importorskip("torch")
    done = _run(folder, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "-> other/other_s4" in done.stdout
    assert "nothing written" in done.stdout


def test_one_bad_file_hides_no_other(folder: Path) -> None:
    (folder / "one" / "cut.json").write_text('{"name": "rms')
    (folder / "one" / "list.json").write_text("[1]")
    (folder / "two" / "context.jsonl").write_text('{"api": 1}\n')
    done = _run(folder, "--dry-run", "--no-smoke", "--json")
    assert done.returncode == 1
    document = _document(done)
    assert {item["dump"] for item in document["unreadable"]} == {"cut.json", "list.json"}
    assert document["counts"]["normalized"] == 4
    assert "context.jsonl:1" in document["warnings"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": "def run(:"}, None),  # rmsnorm needs the template's eps only
        ({"inputs": {"weigh,": {"shape": ["hidden_size"], "dtype": "bfloat16"}}}, "no Python name"),
        ({"outputs": {"class": {"shape": None, "dtype": "float32"}}}, "no Python name"),
    ],
)
def test_what_fuzzing_found(folder: Path, change: dict[str, Any], said: str | None) -> None:
    """Each of these was a traceback, and hid the other dumps."""
    (folder / "one" / "odd.json").write_text(json.dumps({**NORM, **change}))
    done = _run(folder, "--dry-run", "--no-smoke", "--json")
    assert "Traceback" not in done.stderr and (said or "") in done.stdout + done.stderr
    named = [one["name"] for one in _document(done)["dumps"]]
    assert {"rmsnorm_h4096", "other_s4"} <= set(named)


def test_records_beside_the_dumps_are_used(folder: Path) -> None:
    record = {"api": "flashinfer.norm.rmsnorm", "dump": "rmsnorm_h4096", "scalars": {"eps": 1e-5}}
    lost = {"api": "flashinfer.norm.layernorm", "dump": "layernorm_h64"}
    text = json.dumps(record) + "\n" + json.dumps(lost) + "\n"
    (folder / "one" / "context.jsonl").write_text(text)
    document = _document(_run(folder / "one", "--dry-run", "--no-smoke", "--json"))
    norm = next(row for row in document["dumps"] if row["name"] == "rmsnorm_h4096")
    assert "assumed" not in norm
    assert document["warnings"] == ["1 recorded calls of flashinfer.norm.layernorm have no dump"]


def test_strict(folder: Path) -> None:
    done = _run(folder, "--dry-run", "--no-smoke", "--strict", "--json")
    assert done.returncode == 1
    assert _document(done)["refusals"] == {"assumed": 2}


def test_drift_from_the_config(folder: Path) -> None:
    config = ROOT / "tests/fixtures/configs/Qwen__Qwen3-30B-A3B.json"
    document = _document(_run(folder, "--dry-run", "--no-smoke", "--json", "--config", config))
    rows = {row["name"]: row for row in document["dumps"]}
    assert "gives no gqa_paged_decode_h32_kv8_d128_ps1" in rows[FLAT["name"]]["drift"][0]
    assert "nearest: gqa_paged_decode_h32_kv4_d128_ps1" in rows[FLAT["name"]]["drift"][0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--dry-run", "--tags", "nocolon"), 2),
        (("--dry-run", "--tags", "tp:x", "--config", "CONFIG"), 2),
        (("--dry-run", "--flashinfer-path", "/nowhere"), 2),
        (("--dry-run", "--context", "/nowhere.jsonl"), 2),
        (("--dry-run", "--timeout", "0"), 2),
        ((), 2),
    ],
)
def test_wrong_options(folder: Path, words: tuple[str, ...], code: int) -> None:
    config = str(ROOT / "tests/fixtures/configs/meta-llama__Llama-3.1-8B.json")
    done = _run(folder, *[config if word == "CONFIG" else word for word in words])
    assert done.returncode == code
    assert "error: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_empty_folder_is_nothing_selected(tmp_path: Path) -> None:
    assert _run(tmp_path, "--dry-run").returncode == 4
    assert _run(tmp_path / "no", "--dry-run").returncode == 2


WANTED = {
    "gqa_paged_decode_h32_kv128_d128_ps8": "gqa_paged_decode_h32_kv8_d128_ps1",
    "gqa_paged_decode_h32_kv128_d128_ps4": "gqa_paged_decode_h32_kv4_d128_ps1",
    "gqa_paged_decode_h16_kv256_d256_ps2": "gqa_paged_decode_h16_kv2_d256_ps1",
    "gqa_paged_prefill_h32_kv128_d128_ps8": "gqa_paged_prefill_causal_h32_kv8_d128_ps1",
    "gqa_ragged_h16_kv16_d192": "mla_ragged_prefill_causal_h16_qk192_vo128",
    "gqa_ragged_h32_kv8_d128": "gqa_ragged_prefill_causal_h32_kv8_d128",
    "gqa_ragged_h32_kv4_d128": "gqa_ragged_prefill_causal_h32_kv4_d128",
    "gqa_ragged_h16_kv2_d256": "gqa_ragged_prefill_causal_h16_kv2_d256",
    "gdn_prefill_qk16_v32_d128": "gdn_prefill_qk16_v32_d128_k_last",
    "fused_topk_deepseek_e32_k8": "fused_topk_deepseek_e32_k8",
}


def test_every_real_dump_is_right_or_refused(extra: Path) -> None:
    pytest.importorskip("torch")
    folder = extra / "data" / "captures" / "trace_dumps"
    document = _document(_run(folder, "--dry-run", "--json"))
    assert document["counts"]["unreadable"] == 0
    for row in document["dumps"]:
        if row["name"].startswith("cutlass_fused_moe") and "refused" in row:
            assert row["refused"]["code"] == "reference-incomplete"  # unless flashinfer is there
            continue
        plain = row["name"].replace("_sampling_v", "_sampling_from_probs_v")
        assert row.get("definition") == WANTED.get(row["name"], plain), row
    assert not [row for row in document["definitions"] if row["action"] == "conflict"]
