"""The wrapper doctor as a person runs it: with processes of its own, on folders and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import family

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "diagnose_solution.py"
GEMM = family("gemm").definition(16, 24)
RIGHT = "def run(A, B):\n    return A @ B.T\n"
DOUBLE = "def run(A, B):\n    return 2 * (A @ B.T)\n"
ENDLESS = "import time\n\n\ndef run(A, B):\n    while True:\n        time.sleep(0.1)\n"


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def root(dataset: Dataset) -> Path:
    """A dataset with one definition."""
    dataset.write_definition(GEMM)
    return dataset.root


def _folder(path: Path, source: str, definition: str = GEMM.name) -> Path:
    path.mkdir()
    (path / "main.py").write_text(source, encoding="utf-8")
    spec = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
            "destination_passing_style": False}  # fmt: skip
    manifest = {"name": path.name, "definition": definition, "author": "tests", "spec": spec}
    (path / "solution.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


def test_a_right_solution(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = _run(_folder(tmp_path / "right", RIGHT), "--dataset", root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"right for {GEMM.name} on cpu: no fault found")
    assert not list((tmp_path / "right").glob("__pycache__"))


def test_a_wrong_solution_as_json(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = _folder(tmp_path / "double", DOUBLE)
    document = json.loads((folder / "solution.json").read_text())
    document["sources"] = [{"path": "main.py", "content": DOUBLE}]
    file = tmp_path / "double.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    done = _run(file, "--dataset", root, "--axes", "M=5", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["verdict"] == "constant-factor"
    assert found["device"] == "cpu" and found["definition"] == GEMM.name
    assert "2.0000" in found["findings"][0]["evidence"][0]
    assert "single" not in found["calls"]  # with --axes only these


def test_an_endless_solution_is_ended(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = _run(_folder(tmp_path / "endless", ENDLESS), "--dataset", root, "--timeout", 12)
    assert done.returncode == 1, done.stderr
    assert "no-end" in done.stdout and "'small'" in done.stdout
    assert "no end after 12 s" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--device", "tpu"), 2, "no such device"),
        (("--axes", "batch_size"), 2, "no axes"),
        (("--axes", "K=3"), 2, "no such variable axis"),
        (("--definition", "gemm_n1_k1"), 2, "does not serve this definition"),
        (("--workload", "w9"), 2, "no such workload"),
        (("--timeout", "0"), 2, "above 0"),
    ],
)
def test_bad_options_are_one_clear_error(
    root: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    if words[0] in ("--axes", "--workload", "--definition"):
        pytest.importorskip("torch")
    done = _run(_folder(tmp_path / "right", RIGHT), "--dataset", root, *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_bad_paths_are_one_clear_error(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    right = _folder(tmp_path / "right", RIGHT)
    cases = [
        ((right, "--dataset", tmp_path / "absent"), 2, "no such dataset"),
        ((tmp_path / "absent", "--dataset", root), 2, "no such file or folder"),
        ((_folder(tmp_path / "other", RIGHT, "gemm_n1_k1"), "--dataset", root), 2, "not in the"),
        ((tmp_path, "--dataset", root), 2, "one solution at a time"),
    ]
    broken = tmp_path / "broken.json"
    broken.write_text("{}", encoding="utf-8")
    cases.append(((broken, "--dataset", root), 1, "no solution that can run"))
    for words, code, message in cases:
        done = _run(*words)
        assert done.returncode == code, (words, done.stderr)
        assert message in done.stderr and "Traceback" not in done.stderr
        assert done.stdout == ""
