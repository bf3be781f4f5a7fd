"""add_reference_tests.py --run: outcomes, the status tag, and what must not set it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Trace  # noqa: E402
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, Workload  # noqa: E402
from kernelkit.ops import family  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
GEMM = family("gemm").definition(24, 64)
RECORDED = family("gemm").definition(16, 48)
EDITED = family("gemm").definition(8, 32)
NORM = family("rmsnorm").definition(128, 1e-5)
CRASHING = (
    family("rmsnorm")
    .definition(64, 1e-5)
    .model_copy(
        update={
            "reference": "import os\n\nEPS = 1e-5\n\n"
            "def run(hidden_states, weight):\n    os._exit(EPS + 3 > 0)\n"
        }
    )
)


def _run(root: Path, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what `--run` said of each definition."""
    script = ROOT / "scripts" / "add_reference_tests.py"
    done = subprocess.run(
        [sys.executable, str(script), "--dataset", root.name, *words, "--json"],
        capture_output=True, text=True, timeout=120, cwd=root.parent,
        env={**os.environ, "REFERENCE_TEST_DEVICE": "cpu"},
    )  # fmt: skip
    rows = json.loads(done.stdout)["tests"]
    return done.returncode, {row["definition"]: row.get("run") for row in rows}


def _record_workloads(dataset: Dataset) -> None:
    """Eleven calls: the first with a recorded tensor, the last with one that is not here."""
    from safetensors.torch import save_file

    folder = dataset.blob_folder(RECORDED)
    folder.mkdir(parents=True)
    save_file({"a": torch.ones(1, 48, dtype=torch.float16)}, folder / "first.safetensors")
    works = []
    for rows in range(1, 12):
        inputs: dict[str, Any] = {name: RandomInput() for name in RECORDED.inputs}
        if rows in (1, 11):
            path = dataset.relative(folder / ("first" if rows == 1 else "last"))
            inputs["A"] = SafetensorsInput(path=f"./{path}.safetensors", tensor_key="a")
        works.append(Workload(uuid=f"{rows:08d}", axes={"M": rows}, inputs=inputs))
    lines = [Trace(definition=RECORDED.name, workload=work) for work in works]
    dataset.write_workloads(RECORDED, lines)


def _status(dataset: Dataset, definition: Definition) -> list[str]:
    tags = dataset.find_definition(definition.name).tags
    return [tag for tag in tags if tag.startswith("status:")]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, int, dict[str, Any]]:
    """One run over good, recorded, edited and crashing definitions."""
    dataset = Dataset.create(tmp_path_factory.mktemp("ran"))
    for definition in (GEMM, RECORDED, EDITED, NORM, CRASHING):
        dataset.write_definition(definition)
    _record_workloads(dataset)
    _run(dataset.root, "--all")
    path = dataset.root / "tests" / "references" / f"test_{EDITED.name}.py"
    path.write_text("def test_nothing() -> None:\n    pass\n", encoding="utf-8")
    return dataset, *_run(dataset.root, "--all", "--run")


def test_a_right_reference_is_verified(ran: tuple[Dataset, int, dict[str, Any]]) -> None:
    dataset, _, runs = ran
    run = runs[GEMM.name]
    assert run["status"] == "passed" and run["verified"] is True
    metrics = run["ground_truth"]["torch"]["small"]["metrics"]["C"]
    assert metrics["matched_ratio"] == 1.0 and 0.0 < metrics["max_abs_error"] < 1e-2
    assert run["machine"]["versions"]["torch"]
    assert _status(dataset, GEMM) == ["status:verified"]


def test_nothing_is_left_behind(ran: tuple[Dataset, int, dict[str, Any]]) -> None:
    root = ran[0].root
    assert not [*root.rglob("__pycache__"), *root.rglob(".pytest_cache")]


def test_a_kernel_that_did_not_run_verifies_nothing(
    ran: tuple[Dataset, int, dict[str, Any]],
) -> None:
    dataset, _, runs = ran
    run = runs[NORM.name]
    assert run["status"] == "passed" and run["verified"] is False
    skipped = run["ground_truth"]["flashinfer"]["small"]
    assert skipped["outcome"] == "skipped" and "needs a GPU" in skipped["reason"]
    assert _status(dataset, NORM) == []


def test_an_edited_file_verifies_nothing(ran: tuple[Dataset, int, dict[str, Any]]) -> None:
    dataset, _, runs = ran
    run = runs[EDITED.name]
    assert run["status"] == "passed" and run["verified"] is False and "edited" in run["note"]
    assert _status(dataset, EDITED) == []


def test_recorded_workloads_are_tested(ran: tuple[Dataset, int, dict[str, Any]]) -> None:
    """Five of the eleven, the largest of which is skipped for want of its blob."""
    assert ran[2][RECORDED.name]["tests"] == {"passed": 3 + 4, "failed": 0, "skipped": 6 + 1}
    assert ran[2][GEMM.name]["tests"]["passed"] == 3


def test_a_crash_hides_no_other(ran: tuple[Dataset, int, dict[str, Any]]) -> None:
    _, code, runs = ran
    assert code == 1
    assert (
        runs[CRASHING.name]["status"] == "failed"
        and "with code 1" in runs[CRASHING.name]["trouble"]
    )
    assert runs[NORM.name]["status"] == "passed"


def test_a_wrong_reference_loses_the_status(ran: tuple[Dataset, int, dict[str, Any]]) -> None:
    dataset, words = ran[0], ("--definition-name", GEMM.name, "--run")
    outcomes = dataset.root / "tests" / "references" / "outcomes.json"
    first = outcomes.read_bytes()
    assert _run(dataset.root, *words)[0] == 0
    assert outcomes.read_bytes() == first
    held = dataset.find_definition(GEMM.name)
    wrong = held.reference.replace("torch.matmul(A, B.T)", "torch.matmul(A, B.T) * 1.01")
    dataset.write_definition(held.model_copy(update={"reference": wrong}))
    assert _run(dataset.root, *words)[0] == 1
    assert _status(dataset, GEMM) == ["status:unverified"]
    record = json.loads(outcomes.read_text())["outcomes"][GEMM.name]
    assert record["status"] == "failed" and "C: " in record["failures"][0]["text"]
