"""new_solution.py as a person runs it: a folder that packs at once, and its next commands."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import gemm, gqa_paged, rmsnorm
from kernelkit.solutions.pack import pack_folder

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
PAGED = gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False)


def _run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "new_solution.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)


@pytest.fixture
def place(dataset: Dataset) -> Path:
    """The folder above a dataset with three definitions."""
    for definition in (PAGED, gemm.FAMILY.definition(8, 16), rmsnorm.FAMILY.definition(64, 1e-3)):
        dataset.write_definition(definition)
    return dataset.root.parent


def _options(definition: str, template: str, *more: str) -> tuple[str, ...]:
    return ("--definition", definition, "--dataset", "dataset", "--template", template,
            "--author", "me", *more)  # fmt: skip


@pytest.mark.parametrize(
    ("definition", "template", "constant"),
    [
        (PAGED.name, "dense_baseline", "NUM_QO_HEADS = 32"),
        ("gemm_n8_k16", "dense_baseline", "K = 16"),
        ("gemm_n8_k16", "triton_kernel", "K = 16"),
        ("rmsnorm_h64", "triton_kernel", "EPS = 0.001"),
        ("rmsnorm_h64", "cuda_kernel", "constexpr float EPS = 0.001;"),
    ],
)
def test_a_folder_that_packs(place: Path, definition: str, template: str, constant: str) -> None:
    done = _run(*_options(definition, template, "--output", "mine", "--json"), cwd=place)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["name"] == f"{template}_{definition}" and result["folder"] == "mine"
    assert {"mine/main.py", "mine/solution.json", "mine/README.md"} <= set(result["files"])
    packed = pack_folder(place / "mine")
    assert (packed["name"], packed["author"]) == (result["name"], "me")
    assert "README.md" not in [source["path"] for source in packed["sources"]]
    texts = "".join(source["content"] for source in packed["sources"])
    assert f"\n{constant}" in texts
    main = ast.parse((place / "mine/main.py").read_text(encoding="utf-8")).body[-1]
    known = json.loads(next((place / "dataset").rglob(f"{definition}.json")).read_text("utf-8"))
    assert [argument.arg for argument in main.args.args] == list(known["inputs"])


def test_the_next_commands_parse(place: Path) -> None:
    _run(*_options("gemm_n8_k16", "dense_baseline", "--name", "my_gemm", "--output", "a b"),
         cwd=place)  # fmt: skip
    text = (place / "a b" / "README.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^ *(python .*)$", text, re.M)]
    names = [Path(words[1]).name for words in commands]
    assert names == ["check_solution.py", "build_solution.py", "bench.py", "report.py"]
    assert ["a b", "--dataset", "dataset", "--smoke"] == commands[0][2:]
    assert ["--definitions", "gemm_n8_k16", "--solutions", "my_gemm"] == commands[2][4:]
    for words in commands:
        path = place / words[1]
        spec = importlib.util.spec_from_file_location("next_command", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.build_parser().parse_args(words[2:])
    done = subprocess.run([sys.executable, *commands[1][1:]], cwd=place, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert list((place / "dataset/solutions").rglob("my_gemm.json"))


def test_a_second_run_changes_nothing_and_keeps_work(place: Path) -> None:
    words = _options("gemm_n8_k16", "dense_baseline")
    assert _run(*words, cwd=place).returncode == 0
    main = place / "out/solutions/dense_baseline_gemm_n8_k16/main.py"
    assert _run(*words, cwd=place).returncode == 0
    main.write_text("# my work\n", encoding="utf-8")
    done = _run(*words, cwd=place)
    assert done.returncode == 1 and "--force overwrites" in done.stderr
    assert main.read_text(encoding="utf-8") == "# my work\n"
    assert _run(*words, "--force", cwd=place).returncode == 0
    assert "def run(" in main.read_text(encoding="utf-8")


def test_a_dry_run_writes_nothing(place: Path) -> None:
    done = _run(*_options("gemm_n8_k16", "triton_kernel", "--dry-run"), cwd=place)
    assert done.returncode == 0 and "would write" in done.stdout
    assert [path.name for path in place.iterdir()] == ["dataset"]


def test_the_list(place: Path) -> None:
    every = json.loads(_run("--list", "--json", cwd=place).stdout)["templates"]
    assert {"dense_baseline", "triton_kernel", "cuda_kernel"} <= {t["template"] for t in every}
    words = ("--list", "--definition", "gemm_n8_k16", "--dataset", "dataset")
    done = _run(*words, "--json", cwd=place)
    pairs = {t["pair"] for t in json.loads(done.stdout)["templates"]}
    assert pairs == {"dense_baseline", "fast_gemm", "triton_kernel_gemm"}
    assert "gemm: gemm_n*" in _run(*words, cwd=place).stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "options are missing; received: --definition, --dataset"),
        (("--list", "--definition", "x"), 2, "add --dataset DIR"),
        (_options("absent", "dense_baseline"), 2, "no such definition"),
        (_options("gemm_n8_k16", "absent"), 2, "no such template"),
        (_options("gemm_n8_k16", "cuda_kernel"), 2, "allowed: dense_baseline, fast_kernel, triton"),
        (_options("gemm_n8_k16", "dense_baseline", "--name", "../x"), 1, "cannot be a file name"),
        (_options("gemm_n8_k16", "dense_baseline", "--author", "a/b"), 1, "cannot be a file name"),
        (_options("gemm_n8_k16", "dense_baseline", "--output", "/dev/null"), 2, "is a file"),
    ],
)
def test_bad_input_is_one_clear_error(
    place: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    done = _run(*words, cwd=place)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert [path.name for path in place.iterdir()] == ["dataset"]
