"""export_dataset.py: the tables hold what the dataset holds, and load with `datasets`."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.ops import family

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "export_dataset.py"
NORM = family("rmsnorm").definition(64, 1e-6)
MODELS = ["model:a-model", "model:b|model", "status:verified"]
VIEWS = ("definitions", "workloads", "solutions", "traces")


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """A norm of two models with a workload, a solution, a pass and a failure; a GEMM."""
    norm = NORM.model_copy(update={"tags": [*NORM.tags, *MODELS]})
    dataset.write_definition(norm)
    dataset.write_definition(family("gemm").definition(8, 8))
    made = Solution.model_validate({
        "name": "own", "definition": norm.name, "author": "me",
        "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
                 "destination_passing_style": False},
        "sources": [{"path": "main.py", "content": norm.reference + "# ünï\u2028code\n"}],
    })  # fmt: skip
    dataset.write_solution(made, norm)
    blob = {"type": "safetensors", "path": "blob/x.safetensors", "tensor_key": "weight"}
    work = {"uuid": "u", "axes": {"batch_size": 2},
            "inputs": {"hidden_states": {"type": "random"}, "weight": blob}}  # fmt: skip
    line = {"definition": norm.name, "workload": work}
    dataset.write_workloads(norm, [Trace.model_validate(line)])
    common = {"environment": {"hardware": "H200", "libs": {"torch": "2"}}, "timestamp": "t"}
    times = {"latency_ms": 0.5, "reference_latency_ms": 1.0, "speedup_factor": 2.0}
    errors = {"max_absolute_error": 0.25, "max_relative_error": float("inf")}
    passed = {**common, "status": "PASSED", "correctness": errors, "performance": times}
    failed = {**common, "status": "RUNTIME_ERROR", "log": "it broke"}
    dataset.append_traces(norm, [
        Trace.model_validate({**line, "solution": "own", "evaluation": e}) for e in (failed, passed)
    ])  # fmt: skip
    return dataset


def run(dataset: Dataset, *words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, the JSON document if there is one, and stderr; in this process, for speed."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = module.main(["--dataset", str(dataset.root), "--json", *map(str, words)])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


def lines(folder: Path, view: str) -> list[dict[str, Any]]:
    """A view's JSON lines."""
    text = (folder / "jsonl" / f"{view}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def test_json_lines_hold_everything(filled: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    code, found, _ = run(filled, "--output", folder, "--formats", "jsonl")
    assert code == 0 and found["totals"]["traces"] == 2 and found["totals"]["passed"] == 1
    norm = next(row for row in lines(folder, "definitions") if row["name"] == NORM.name)
    assert norm["models"] == ["a-model", "b|model"] and norm["status"] == "verified"
    assert norm["fi_api"] == "flashinfer.norm.rmsnorm" and norm["reference"] == NORM.reference
    assert json.loads(norm["axes"])["hidden_size"]["value"] == 64
    assert lines(folder, "workloads")[0]["blobs"] == ["blob/x.safetensors"]
    assert lines(folder, "solutions")[0]["sources"][0]["content"].endswith("# ünï\u2028code\n")
    failed, passed = lines(folder, "traces")
    assert (failed["latency_ms"], failed["log"], failed["author"]) == (None, "it broke", "me")
    assert (passed["latency_ms"], passed["max_relative_error"]) == (0.5, None)


def test_again_changes_nothing_and_less_removes(filled: Dataset, tmp_path: Path) -> None:
    folder, words = tmp_path / "out", ("--formats", "jsonl")
    run(filled, "--output", folder, *words)
    found = run(filled, "--output", folder, *words)[1]
    assert not any(row["changed"] for row in found["files"])
    filled.trace_path(NORM).unlink()
    run(filled, "--output", folder, *words)
    assert not (folder / "jsonl" / "traces.jsonl").exists()
    assert "config_name: traces" not in (folder / "README.md").read_text()


def test_statistics(filled: Dataset) -> None:
    code, found, _ = run(filled, "--dry-run")
    assert code == 0 and found["files"] == []
    norm = next(row for row in found["op_types"] if row["op_type"] == "rmsnorm")
    assert (norm["definitions_with_workloads"], norm["traces"], norm["passed"]) == (1, 2, 1)
    assert [m["definitions_with_a_passing_solution"] for m in found["models"]] == [1, 1]
    assert found["authors"][0]["languages"] == ["python"] and found["hardware"] == {"H200": 2}


def test_a_bad_file_hides_no_other(filled: Dataset, tmp_path: Path) -> None:
    (filled.root / "definitions" / "rmsnorm" / "broken.json").write_text("{")
    with open(filled.trace_path(NORM), "a") as file:
        file.write("not JSON\n")
    code, found, said = run(filled, "--output", tmp_path / "out", "--formats", "jsonl")
    assert code == 1 and len(found["errors"]) == 2 and "broken.json" in said
    assert "rmsnorm_h64.jsonl:3" in said and len(lines(tmp_path / "out", "definitions")) == 2


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "--output DIR"),
        (("--dry-run", "--formats", "csv"), 2, "allowed: parquet, jsonl"),
    ],
)
def test_exit_codes(filled: Dataset, words: tuple[str, ...], code: int, text: str) -> None:
    got, _, said = run(filled, *words)
    assert got == code and text in said


def test_nothing_and_someone_elses_readme(filled: Dataset, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# mine\n")
    code, _, said = run(filled, "--output", tmp_path, "--formats", "jsonl")
    assert code == 2 and "written by someone else" in said
    assert run(Dataset.create(tmp_path / "empty"), "--dry-run")[0] == 4


def test_without_pyarrow(filled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kernelkit.publish.export import tables

    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    code, _, said = run(filled, "--output", tmp_path / "out")
    assert code == 3 and "pyarrow" in said and not (tmp_path / "out").exists()


def test_the_card_is_yaml(filled: Dataset, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    run(filled, "--output", tmp_path / "out", "--formats", "jsonl", "--title", 'a "b": c')
    text = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pretty_name"] == 'a "b": c' and len(head["configs"]) == 4
    assert all((tmp_path / "out" / c["data_files"][0]["path"]).is_file() for c in head["configs"])
    assert "| b\\|model | 1 |" in text


LOAD = """
import json, sys, datasets
datasets.disable_progress_bars()
rows = {}
for name in datasets.get_dataset_config_names(sys.argv[1]):
    rows[name] = datasets.load_dataset(sys.argv[1], name, split="train", cache_dir=sys.argv[2])[:]
print(json.dumps(rows))
"""


def test_both_formats_load_with_datasets(filled: Dataset, tmp_path: Path) -> None:
    """In a process of its own, offline; the rows are those of the JSON lines."""
    for package in ("pyarrow", "datasets"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    folder = tmp_path / "out"
    assert run(filled, "--output", folder)[0] == 0
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    for place in (folder, folder / "jsonl"):
        command = [sys.executable, "-c", LOAD, str(place), str(tmp_path / f"cache_{place.name}")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert list(found) == list(VIEWS)
        for view, columns in found.items():
            want = lines(folder, view)
            names = list(want[0])
            columns = [columns[name] for name in names]
            rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
            assert rows == want
