"""make_baselines.py: what it writes, what it leaves, and its exit codes."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import family

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_baselines.py"
NORM = family("rmsnorm").definition(64, 1e-6)
GEMM = family("gemm").definition(8, 16)


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """A norm, a GEMM, and a definition of a family that nobody knows."""
    for definition in (NORM, GEMM):
        dataset.write_definition(definition)
    dataset.write_definition(GEMM.model_copy(update={"name": "other", "op_type": "other"}))
    return dataset


def run(dataset: Dataset, *words: str) -> tuple[int, dict[str, object], str]:
    """Exit code, the JSON document if there is one, and stderr; in this process, for speed."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = module.main(["--dataset", str(dataset.root), "--json", *words])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


def test_all_and_again(filled: Dataset) -> None:
    code, found, _ = run(filled, "--all", "--dry-run")
    assert code == 0 and found["counts"] == {"created": 2, "none": 1}
    assert filled.files("solutions", ".json") == []
    assert run(filled, "--all")[1]["counts"] == {"created": 2, "none": 1}
    names = {s.name: s.author for d in (NORM, GEMM) for s in filled.solutions_of(d)}
    assert names == {"flashinfer_rmsnorm_h64": "baseline", "torch_gemm_n8_k16": "baseline"}
    assert run(filled, "--all")[1]["counts"] == {"unchanged": 2, "none": 1}


def test_the_demo_s_solutions_leave_room_for_baselines(dataset: Dataset) -> None:
    dataset.write_definition(GEMM)
    demo = SCRIPT.parent / "demo_assets" / "solutions"
    words = [str(SCRIPT.parent / "build_solution.py"), "pack", str(demo / "gemm"), "--dataset"]
    subprocess.run([sys.executable, *words, str(dataset.root)], check=True, capture_output=True)
    code, found, _ = run(dataset, "--all")
    assert code == 0 and found["counts"] == {"created": 1}
    assert len(dataset.solutions_of(GEMM)) == 2


def test_what_it_calls_is_said(filled: Dataset) -> None:
    _, found, _ = run(filled, "--op-types", "rmsnorm,gemm", "--dry-run")
    norm, gemm = sorted(found["baselines"], key=lambda row: row["definition"], reverse=True)
    assert norm["apis"] == ["flashinfer.norm.rmsnorm"] and norm["note"] == ""
    assert gemm["provider"] == "torch" and "no 16-bit GEMM" in gemm["note"]


def test_an_edited_baseline_is_made_anew(filled: Dataset) -> None:
    run(filled, "--definitions", NORM.name)
    (path,) = filled.files("solutions", ".json")
    path.write_text(path.read_text().replace("EPS = 1e-06", "EPS = 0.1"))
    assert run(filled, "--definitions", NORM.name)[1]["counts"] == {"changed": 1}
    assert "EPS = 1e-06" in path.read_text()


def test_a_name_that_another_holds_is_a_conflict(filled: Dataset) -> None:
    run(filled, "--definitions", NORM.name)
    (path,) = filled.files("solutions", ".json")
    other = filled.root / "solutions" / "someone" / path.name
    other.parent.mkdir()
    path.rename(other)
    code, found, _ = run(filled, "--all")
    assert code == 1 and found["counts"] == {"conflict": 1, "created": 1, "none": 1}
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--op-types", "moe"), 4, "allowed: gemm, other, rmsnorm"),
        (("--definitions", "other"), 4, "no definition of the selection has a baseline"),
        (("--definitions", "absent"), 2, "no such definition"),
        ((), 2, "one of the arguments"),
    ],
)
def test_exit_codes(filled: Dataset, words: tuple[str, ...], code: int, text: str) -> None:
    got, _, said = run(filled, *words)
    assert got == code and text in said
    assert filled.files("solutions", ".json") == []
