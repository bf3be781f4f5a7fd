"""The fast kernels through Triton's interpreter, in a process of their own, where Triton is."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

DRIVER = Path(__file__).with_name("fast_cases.py")
UNFIT = "only 0-dimensional arrays"


FAMILIES = ("gqa", "sampling", "mla", "norms", "gemm", "gdn", "mtp", "mamba", "sparse")


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_every_family() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(DRIVER), "--only", ",".join(FAMILIES)],
        capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"}, timeout=600,
    )  # fmt: skip
    if UNFIT in done.stdout:
        pytest.skip("this Triton's interpreter needs numpy below 2.4")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"status"')]
    bad = [row for row in rows if row["status"] != "PASSED"]
    assert not bad, json.dumps(bad, indent=1)
    assert done.returncode == 0, done.stderr[-3000:]
    op_types = ("gqa_paged", "sampling", "mla_paged", "rmsnorm", "gemm", "gdn_mtp", "gdn_decode", "mamba", "dsa_sparse")
    for op_type in op_types:
        assert any(op_type in row["definition"] for row in rows), op_type
