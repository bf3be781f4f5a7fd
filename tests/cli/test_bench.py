"""From a dump and a folder of sources to traces, through the scripts as a person runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import rmsnorm

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "scripts" / "demo_assets"
NORM = rmsnorm.FAMILY.definition(4096, 1e-5)


def _run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def prepared(dataset: Dataset) -> Path:
    """A dataset with one definition, its two recorded workloads and a solution."""
    dataset.write_definition(NORM)
    for words in (
        ("collect_workloads.py", "--dump", ASSETS / "dump"),
        ("build_solution.py", "pack", ASSETS / "solutions"),
    ):
        done = _run(*words, "--dataset", dataset.root)
        assert done.returncode == 0, done.stderr
    return dataset.root


def test_dry_run_needs_no_torch_and_writes_nothing(prepared: Path) -> None:
    watch = (
        "import runpy, sys\n"
        f"sys.argv = ['x', '--dataset', {str(prepared)!r}, '--dry-run', '--json']\n"
        f"sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        f"try: runpy.run_path({str(ROOT / 'scripts/bench.py')!r}, run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert sorted(pair["axes"]["batch_size"] for pair in document["pairs"]) == [4, 119]
    assert not (prepared / "traces").exists()


def test_run_resume_and_report(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    quick = ("--device", "cpu", "--iterations", 3, "--num-trials", 1)
    done = _run("bench.py", "--dataset", prepared, *quick, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [t["evaluation"]["status"] for t in document["traces"]] == ["PASSED", "PASSED"]
    assert document["errors"] == []
    again = _run("bench.py", "--dataset", prepared, *quick, "--resume", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["traces"] == []

    page = tmp_path / "deep" / "report.html"
    done = _run("report.py", "--dataset", prepared, "--output", page)
    assert done.returncode == 0, done.stderr
    assert "2 traces: 2 PASSED" in done.stdout
    assert "torch_rmsnorm_h4096" in page.read_text(encoding="utf-8").replace("<wbr>", "")


def test_a_wrong_solution_gives_exit_code_1(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "main.py").write_text("def run(x, w):\n    return x\n", encoding="utf-8")
    manifest = {"name": "wrong", "definitions": [NORM.name], "author": "tests"}
    (folder / "solution.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert _run("build_solution.py", "pack", folder, "--dataset", prepared).returncode == 0
    done = _run("bench.py", "--dataset", prepared, "--device", "cpu",
                "--solutions", "wrong", "--workloads", 1)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "INCORRECT_NUMERICAL" in done.stdout
    report = _run("report.py", "--dataset", prepared)
    assert report.returncode == 0
    assert "wrong" in report.stdout and "INCORRECT_NUMERICAL" in report.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--device", "tpu"), 2, "no such device"),
        (("--solutions", "absent"), 2, "no such solution"),
        (("--solutions", "absent"), 2, "allowed: "),
        (("--definitions", "absent"), 2, "no such definition"),
        (("--op-types", "absent"), 2, "no such op type"),
        (("--op-types", "gemm"), 4, "no workload with a solution"),
        (("--workloads", "absent"), 2, "no such workload"),
        (("--baseline", "absent"), 2, "the baseline is no solution"),
        (("--cuda-graph", "--device", "cpu"), 2, "--cuda-graph needs a GPU"),
        (("--iterations", "0"), 2, "positive integer"),
        (("--timeout", "nan"), 2, "positive number of seconds"),
    ],
)
def test_bad_input_is_one_clear_error(
    prepared: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    dry = () if "--device" in words else ("--dry-run",)
    if not dry:
        pytest.importorskip("torch")
    done = _run("bench.py", "--dataset", prepared, *words, *dry)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("bench.py", ()),
        ("report.py", ()),
        ("collect_workloads.py", ("--dump", ASSETS / "dump")),
        ("build_solution.py", ("pack", ASSETS / "solutions")),
    ],
)
def test_a_wrong_dataset_path_makes_nothing(
    tmp_path: Path, script: str, words: tuple[object, ...]
) -> None:
    done = _run(script, *words, "--dataset", tmp_path / "absent")
    assert done.returncode == 2
    assert "no such dataset" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_collecting_says_what_has_no_workload(dataset: Dataset) -> None:
    dataset.write_definition(NORM)
    dataset.write_definition(rmsnorm.FAMILY.definition(128, 1e-5))
    words = ("--dump", ASSETS / "dump", "--dataset", dataset.root)
    done = _run("collect_workloads.py", *words, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "no recorded workload: rmsnorm_h128" in done.stdout
    assert "would write 2 workloads for 1 of 2 definitions" in done.stdout
    assert not (dataset.root / "workloads").exists()
    other = _run("collect_workloads.py", *words, "--definitions", "rmsnorm_h128", "--json")
    assert other.returncode == 4
    assert json.loads(other.stdout)["without_workload"] == ["rmsnorm_h128"]


def test_two_folders_with_one_solution_name(dataset: Dataset, tmp_path: Path) -> None:
    dataset.write_definition(NORM)
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "main.py").write_text("def run(x, w):\n    return x\n", encoding="utf-8")
        text = json.dumps({"name": "same", "definitions": ["*"]})
        (folder / "solution.json").write_text(text, encoding="utf-8")
    done = _run("build_solution.py", "pack", tmp_path, "--dataset", dataset.root)
    assert done.returncode == 1
    assert "same" in done.stderr
    assert not (dataset.root / "solutions").exists()


def test_an_interrupt_loses_nothing_and_leaves_nothing(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = tmp_path / "slow"
    folder.mkdir()
    text = "import time\ndef run(x, w):\n    time.sleep(600)\n"
    (folder / "main.py").write_text(text, encoding="utf-8")
    manifest = {"name": "slow", "definitions": [NORM.name], "author": "tests"}
    (folder / "solution.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert _run("build_solution.py", "pack", folder, "--dataset", prepared).returncode == 0
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [
        sys.executable,
        str(ROOT / "scripts" / "bench.py"),
        "--dataset",
        str(prepared),
        "--device",
        "cpu",
        "--workloads",
        "1",
        "--iterations",
        "3",
        "--num-trials",
        "1",
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    traces = prepared / "traces" / "rmsnorm" / f"{NORM.name}.jsonl"
    deadline = time.monotonic() + 60  # "slow" comes before "torch_..." in no order: wait for either
    while not list(temporary.glob("kernelkit-*/0002")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not list(temporary.glob("kernelkit-*"))
    for line in traces.read_text(encoding="utf-8").splitlines() if traces.exists() else ():
        assert json.loads(line)
