"""sanitize_solution.py as a person runs it, with a stand-in for compute-sanitizer on the PATH."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import RandomInput, Workload
from kernelkit.ops import rmsnorm

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "sanitize_solution.py"
NORM = rmsnorm.FAMILY.definition(64, 1e-5)
SOLUTION = {
    "name": "mine", "definition": NORM.name, "author": "me",
    "spec": {"language": "python", "target_hardware": ["cuda"], "entry_point": "main.py::run",
             "dependencies": [], "destination_passing_style": False},
    "sources": [{"path": "main.py", "content": "def run(x, w):\n    return x\n"}],
}  # fmt: skip


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def prepared(dataset: Dataset, tmp_path: Path) -> tuple[Path, Path]:
    """A dataset with a definition and two workloads; a Solution file."""
    dataset.write_definition(NORM)
    inputs = {name: RandomInput() for name in NORM.inputs}
    works = [Workload(uuid=f"w{n}", axes={"batch_size": n}, inputs=inputs) for n in (50, 2)]
    lines = [Trace(definition=NORM.name, workload=w) for w in works]
    dataset.write_workloads(NORM, lines)
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(SOLUTION), encoding="utf-8")
    return dataset.root, file


def test_without_a_gpu_it_says_what_is_missing(prepared: tuple[Path, Path]) -> None:
    pytest.importorskip("torch")
    root, file = prepared
    done = _run(file, "--dataset", root, "--device", "cpu")
    assert done.returncode == 3, done.stderr
    assert "watches GPUs" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("change", "words", "code", "message"),
    [
        (None, ("--workload", "absent"), 2, "has no such workload"),
        (None, ("--tool", "guesscheck"), 2, "invalid choice"),
        (None, ("--definition", "rmsnorm_h65"), 2, "another definition"),
        (None, ("--timeout", "0"), 2, "positive number of seconds"),
        ("{", (), 1, "not JSON"),
        (json.dumps({**SOLUTION, "definition": "absent"}), (), 2, "no such definition"),
    ],
)
def test_bad_input_is_one_clear_error(
    prepared: tuple[Path, Path], change: str | None, words: tuple[str, ...], code: int, message: str
) -> None:
    root, file = prepared
    if change is not None:
        file.write_text(change, encoding="utf-8")
    done = _run(file, "--dataset", root, *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_source_that_is_not_there(prepared: tuple[Path, Path], tmp_path: Path) -> None:
    done = _run(tmp_path / "absent.json", "--dataset", prepared[0])
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_a_folder_serves_by_pattern_and_must_be_unambiguous(
    prepared: tuple[Path, Path], tmp_path: Path
) -> None:
    from kernelkit.errors import UsageError
    from kernelkit.solutions.single import read_solution

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "main.py").write_text("def run(hidden_states, weight):\n    return weight\n")
    manifest = {"name": "{definition}_mine", "definitions": ["rmsnorm_*"], "author": "me"}
    (folder / "solution.json").write_text(json.dumps(manifest))
    dataset = Dataset.open(prepared[0])
    definition, solution = read_solution(folder, dataset)
    assert (definition.name, solution.name) == (NORM.name, f"{NORM.name}_mine")
    dataset.write_definition(rmsnorm.FAMILY.definition(128, 1e-5))
    with pytest.raises(UsageError, match="serves 2 definitions"):
        read_solution(folder, dataset)
    assert read_solution(folder, dataset, "rmsnorm_h128")[0].name == "rmsnorm_h128"


STUB = """\
import sys
sys.path.insert(0, {scripts!r})
from kernelkit.bench import device
device.choose = lambda asked: ["cuda:0"]
import runpy
sys.argv = [{script!r}, *sys.argv[1:]]
runpy.run_path({script!r}, run_name="__main__")
"""
TOOL = """\
#!{python}
import sys
args = sys.argv[1:]
at = lambda name: args[args.index(name) + 1]
tool = at("--tool")
summary = "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"
if tool != "racecheck":
    summary = "ERROR SUMMARY: %d errors" % (1 if tool == "initcheck" else 0)
found = "========= Uninitialized __global__ memory read of size 4 bytes\\n"
text = (found if tool == "initcheck" else "") + "========= " + summary + "\\n"
open(at("--log-file"), "w").write(text)
print("kernelkit: the call is done")
sys.exit(86 if tool == "initcheck" else 0)
"""


@pytest.mark.parametrize(("tool", "code"), [("memcheck", 0), ("initcheck", 1), ("all", 1)])
def test_the_exit_code_is_the_summary(
    prepared: tuple[Path, Path], tmp_path: Path, tool: str, code: int
) -> None:
    root, file = prepared
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "compute-sanitizer"
    program.write_text(TOOL.format(python=sys.executable))
    program.chmod(0o755)
    stub = tmp_path / "stub.py"
    stub.write_text(STUB.format(scripts=str(SCRIPT.parent), script=str(SCRIPT)))
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, str(stub), str(file), "--dataset", str(root), "--tool", tool, "--json"],
        capture_output=True, text=True, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    document = json.loads(done.stdout)
    assert document["workload"] == "w2", "the lightest"
    assert len(document["reports"]) == (4 if tool == "all" else 1)
    dirty = [report["tool"] for report in document["reports"] if not report["clean"]]
    assert dirty == ([] if tool == "memcheck" else ["initcheck"])
