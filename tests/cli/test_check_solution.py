"""check_solution.py from the command line: exit codes, JSON, selection, smoke runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import family

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_solution.py"
NORM = """import torch


def run(hidden_states, weight):
    x = hidden_states.float()
    x = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + 1e-6)
    return (x * weight.float()).to(hidden_states.dtype)
"""


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own."""
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def norms(dataset: Dataset) -> Dataset:
    """One definition."""
    dataset.write_definition(family("rmsnorm").definition(64, 1e-6))
    return dataset


def solution(folder: Path, text: str = NORM, definition: str = "rmsnorm_h64") -> Path:
    """A folder with a solution."""
    folder.mkdir(parents=True)
    spec = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
            "destination_passing_style": False}  # fmt: skip
    manifest = {"name": folder.name, "definition": definition, "author": "me", "spec": spec}
    (folder / "solution.json").write_text(json.dumps(manifest))
    (folder / "main.py").write_text(text)
    return folder


def test_a_right_one(norms: Dataset, tmp_path: Path) -> None:
    done = run(solution(tmp_path / "mine"), "--dataset", norms.root, "--strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "mine for rmsnorm_h64", "1 solutions: 0 errors, 0 warnings, 0 notes",
    ]  # fmt: skip


def test_errors_fail_and_name_place_and_fix(norms: Dataset, tmp_path: Path) -> None:
    path = solution(tmp_path / "mine", NORM.replace("    return", "    weight.add_(1)\n    return"))
    done = run(path, "--dataset", norms.root)
    assert done.returncode == 1
    assert "error KS701 main.py:7: an input is changed" in done.stdout
    assert "add_ on weight" in done.stdout and "fix: work on a copy" in done.stdout


def test_warnings_fail_only_when_strict(norms: Dataset, tmp_path: Path) -> None:
    path = solution(tmp_path / "mine", NORM.replace("    return", "    print(1)\n    return"))
    assert run(path, "--dataset", norms.root).returncode == 0
    assert run(path, "--dataset", norms.root, "--strict").returncode == 1


def test_json_is_one_document(norms: Dataset, tmp_path: Path) -> None:
    path = solution(tmp_path / "mine", NORM.replace("1e-6", "1e-4"))
    done = run(path, "--dataset", norms.root, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert document["summary"] == {"solutions": 1, "errors": 0, "warnings": 1, "notes": 0}
    (one,) = document["solutions"]
    assert (one["name"], one["definition"]) == ("mine", "rmsnorm_h64")
    (finding,) = one["findings"]
    assert (finding["code"], finding["severity"], finding["line"]) == ("KS601", "warning", 6)
    assert finding["doctor"] == "eps-wrong" and finding["fix"] and finding["meaning"]


def test_one_bad_file_never_hides_the_others(norms: Dataset, tmp_path: Path) -> None:
    solution(tmp_path / "all" / "good")
    solution(tmp_path / "all" / "worse", "def run(:\n")
    solution(tmp_path / "all" / "stranger", definition="rmsnorm_h65")
    (tmp_path / "all" / "broken.json").write_text("{")
    done = run(tmp_path / "all", "--dataset", norms.root, "--json")
    told = {one["name"]: [f["code"] for f in one["findings"]]
            for one in json.loads(done.stdout)["solutions"]}  # fmt: skip
    assert done.returncode == 1 and told.pop("good") == []
    assert sorted(map(tuple, told.values())) == [("KS100",), ("KS118",), ("KS207",)]


def test_smoke(norms: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    good = run(solution(tmp_path / "good"), "--dataset", norms.root, "--smoke", "--strict")
    assert good.returncode == 0, good.stdout
    wrong = solution(tmp_path / "wrong", NORM.replace("x * weight", "x + weight"))
    done = run(wrong, "--dataset", norms.root, "--smoke", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1
    assert [f["code"] for f in document["solutions"][0]["findings"]] == ["KS907"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["absent"], 2, "no such file or folder"),
        ([".", "--timeout", "0"], 2, "seconds above 0"),
        ([".", "--timeout", "nan"], 2, "seconds above 0"),
        ([".", "--dataset", "absent"], 2, "no such dataset"),
        ([".", "--smoke", "--device", "tpu"], 2, "cuda:1"),
    ],
)
def test_usage(norms: Dataset, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    path = solution(tmp_path / "mine")
    filled = [str(path) if word == "." else word for word in words]
    done = run("--dataset", norms.root, *filled)
    assert done.returncode == code and done.stdout == ""
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_no_definition_is_nothing_selected(norms: Dataset, tmp_path: Path) -> None:
    done = run(solution(tmp_path / "m", definition="rmsnorm_h65"), "--dataset", norms.root)
    assert done.returncode == 4 and "rmsnorm_h65" in done.stderr


def test_a_device_that_is_absent(norms: Dataset, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    words = ("--dataset", norms.root, "--smoke", "--device", "cuda")
    done = run(solution(tmp_path / "mine"), *words)
    assert done.returncode == 3 and "--device cpu" in done.stderr
