"""tune_solution.py on a CPU: the fastest right variant wins, a log is not measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import tune_solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.solutions.tuning import building  # noqa: E402

MAIN = '''"""A product that sleeps, is wrong or hangs as its parameters say."""

import time

import torch

TUNING = {"size": "M", "parameters": {"SLEEP_MS": [40, 5, 20], "BIAS": [0, 1], "HANGS": [0, 1]}}

# tuned: begin
TUNED = [
    {
        "up_to": None,
        "SLEEP_MS": 20,
        "BIAS": 0,
        "HANGS": 0,
    },
]
# tuned: end


def run(A: torch.Tensor, B: torch.Tensor) -> torch.Tensor:
    row = TUNED[0]
    time.sleep(600 if row["HANGS"] else row["SLEEP_MS"] / 1e3)
    return A @ B.t() + row["BIAS"]
'''
SPEC = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
        "dependencies": [], "destination_passing_style": False, "binding": None}  # fmt: skip


@pytest.fixture
def command(dataset: Dataset, tmp_path: Path) -> list[str]:
    """A folder to tune, and the options that stay the same."""
    definition = family("gemm").definition(8, 8)
    dataset.write_definition(definition)
    folder = tmp_path / "mine"
    folder.mkdir()
    document = {"name": "mine", "definition": definition.name, "author": "a", "spec": SPEC}
    (folder / "solution.json").write_text(json.dumps(document), encoding="utf-8")
    (folder / "main.py").write_text(MAIN, encoding="utf-8")
    return [str(folder), "--dataset", str(dataset.root), "--device", "cpu", "--jobs", "1",
            "--timeout", "30", "--log", str(tmp_path / "log.jsonl"), "--json"]  # fmt: skip


def test_the_fastest_right_variant_wins(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main = Path(command[0], "main.py")
    quick = [*command, "--axes", "M=2", "--rounds", "1", "--timeout", "8"]
    assert tune_solution.main(quick) == 0
    document = json.loads(capsys.readouterr().out)
    (found,) = document["found"]
    assert found["best"] == {"SLEEP_MS": 5, "BIAS": 0, "HANGS": 0} and document["written"]
    assert found["best_ms"] < 15 < found["start_ms"]
    messages = {json.dumps(each["parameters"]): each["message"] for each in found["failures"]}
    assert len(messages) == 2
    assert any("INCORRECT" in text for text in messages.values())
    assert any("not built within" in text for text in messages.values())
    assert '"SLEEP_MS": 5' in main.read_text(encoding="utf-8")

    main.write_text(MAIN, encoding="utf-8")  # again: everything is in the log
    monkeypatch.setattr(building, "build_all", _never)
    assert tune_solution.main(quick) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["found"][0]["best_ms"] == found["best_ms"] and again["written"]


def _never(*_: Any) -> Any:
    raise AssertionError("built although the log has it")


def test_a_dry_run_shows_and_writes_nothing(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune_solution.main([*command, "--axes", "M=2", "--dry-run"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["workloads"] == [{"M": 2}] and not document["written"]
    assert Path(command[0], "main.py").read_text(encoding="utf-8") == MAIN
    assert not Path(command[0]).with_name("log.jsonl").exists()


def test_without_workloads(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_solution.main(command) == 4
    assert "--axes" in capsys.readouterr().err


def test_axes_that_the_definition_has_not(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune_solution.main([*command, "--axes", "rows=2"]) == 2
    assert "M" in capsys.readouterr().err


def test_parameters_in_force_that_fail(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main = Path(command[0], "main.py")
    wrong = MAIN.replace('"BIAS": 0,\n', '"BIAS": 1,\n')
    main.write_text(wrong, encoding="utf-8")
    assert tune_solution.main([*command, "--axes", "M=2"]) == 1
    assert "the parameters in force fail" in capsys.readouterr().err
    assert main.read_text(encoding="utf-8") == wrong


def test_a_main_without_tables(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path(command[0], "main.py").write_text("def run(A, B):\n    return A\n", encoding="utf-8")
    assert tune_solution.main([*command, "--axes", "M=2"]) == 1
    said = capsys.readouterr().err
    assert "nothing to tune" in said and "--template fast_kernel" in said


def test_an_absent_package_is_no_verdict_on_the_parameters(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = Path(command[0], "main.py")
    main.write_text(MAIN.replace("import torch", "import kk_absent, torch"), encoding="utf-8")
    assert tune_solution.main([*command, "--axes", "M=2"]) == 3
    assert "kk_absent" in capsys.readouterr().err
    assert not (tmp_path / "log.jsonl").exists()
