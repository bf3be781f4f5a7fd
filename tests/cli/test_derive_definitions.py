"""scripts/derive_definitions.py from the command line: where nothing fits, or not all does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "derive_definitions.py"
LLAMA = ROOT / "tests" / "fixtures" / "configs" / "meta-llama__Llama-3.1-8B.json"


def _run(cwd: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--config", str(LLAMA), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=60)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--op-types", "gdn"],
            4,
            "error: no definition follows from this model; received: op types gdn; "
            "next: name other --op-types, or leave the option out\n",
        ),
        (["--dataset", "absent"], 2, "derive_definitions.py --dataset DIR --create\n"),
    ],
)
def test_says_what_to_do_next(tmp_path: Path, words: list[str], code: int, message: str) -> None:
    done = _run(tmp_path, *words)
    assert done.returncode == code
    assert done.stderr.endswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_conflict_keeps_its_file_and_hides_no_other(tmp_path: Path) -> None:
    assert _run(tmp_path, "--tp-list", 1, "--dataset", "ds", "--create").returncode == 0
    folder = tmp_path / "ds" / "definitions" / "gqa_paged"
    held = folder / "gqa_paged_decode_h32_kv8_d128_ps1.json"
    document = json.loads(held.read_bytes())
    document["axes"]["num_kv_heads"]["value"] = 4
    held.write_text(json.dumps(document))
    before = held.read_bytes()
    done = _run(tmp_path, "--tp-list", "1,4", "--dataset", "ds")
    assert done.returncode == 1
    assert "existing [('num_kv_heads', 4)], derived [('num_kv_heads', 8)]" in done.stdout
    assert held.read_bytes() == before
    assert (folder / "gqa_paged_decode_h8_kv2_d128_ps1.json").is_file()
