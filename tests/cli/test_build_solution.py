"""build_solution.py as a person runs it: pack, unpack, diff, their exit codes and errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.ops import gemm, rmsnorm

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "scripts" / "demo_assets" / "solutions"
TEMPLATES = ROOT / ".claude" / "skills" / "add-flashinfer-solution" / "templates"
NORM = rmsnorm.FAMILY.definition(4096, 1e-5)
SPEC = {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run",
        "destination_passing_style": False}  # fmt: skip


def _run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "build_solution.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two sources."""
    root = tmp_path / "kernel"
    (root / "lib").mkdir(parents=True)
    manifest = {"name": "mine", "definition": NORM.name, "author": "me", "spec": SPEC}
    (root / "solution.json").write_text(json.dumps(manifest), encoding="utf-8")
    (root / "main.py").write_text("from .lib.k import run\n", encoding="utf-8")
    (root / "lib/k.py").write_text("def run(x, w):\n    return x\n", encoding="utf-8")
    return root


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    first, second, other = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "deep" / "other"
    assert _run("pack", folder, "-o", first).returncode == 0
    done = _run("unpack", first, "-o", other, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] == 3
    assert _run("pack", other, "-o", second).returncode == 0
    assert first.read_bytes() == second.read_bytes()
    assert _run("unpack", first, "-o", folder).stdout == "0 files new or changed\n"
    done = _run("diff", first, other)
    assert (done.returncode, done.stdout) == (0, "equal\n")


def test_diff_says_what_differs(folder: Path, tmp_path: Path) -> None:
    _run("pack", folder, "-o", tmp_path / "a.json")
    (folder / "lib/k.py").write_text("def run(x, w):\n    return w\n", encoding="utf-8")
    done = _run("diff", tmp_path / "a.json", folder)
    assert done.returncode == 1
    assert "-    return x\n+    return w" in done.stdout
    done = _run("diff", tmp_path / "a.json", folder, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 1 and document["equal"] is False
    assert [row["place"] for row in document["differences"]] == ["source lib/k.py"]


def test_a_changed_folder_is_kept_without_force(folder: Path, tmp_path: Path) -> None:
    _run("pack", folder, "-o", tmp_path / "a.json")
    (folder / "lib/k.py").write_text("def run(x, w):\n    return w\n", encoding="utf-8")
    done = _run("unpack", tmp_path / "a.json", "-o", folder)
    assert done.returncode == 1 and "--force overwrites" in done.stderr
    assert "return w" in (folder / "lib/k.py").read_text(encoding="utf-8")
    done = _run("unpack", tmp_path / "a.json", "-o", folder, "--force", "--dry-run")
    assert done.returncode == 0 and "dry run: nothing written" in done.stdout
    assert "return w" in (folder / "lib/k.py").read_text(encoding="utf-8")
    assert _run("unpack", tmp_path / "a.json", "-o", folder, "--force").returncode == 0
    assert "return x" in (folder / "lib/k.py").read_text(encoding="utf-8")


def test_nothing_is_written_outside(folder: Path, tmp_path: Path) -> None:
    _run("pack", folder, "-o", tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    for change in ({"name": "../../x"}, {"author": ".."}):
        _refused(tmp_path, {**document, **change}, "cannot be a file name")
    for path in ("../x.py", "/tmp/kernelkit_absolute.py", "..\\x.py", "C:\\x.py", "./main.py"):
        source = {"path": path, "content": "x = 1\n"}
        _refused(tmp_path, {**document, "sources": [*document["sources"], source]}, "source path")
    assert not Path("/tmp/kernelkit_absolute.py").exists()


def _refused(root: Path, document: object, message: str) -> None:
    before = sorted(root.rglob("*"))
    (root / "bad.json").write_text(json.dumps(document), encoding="utf-8")
    done = _run("unpack", root / "bad.json", "-o", root / "target")
    (root / "bad.json").unlink()
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert sorted(root.rglob("*")) == before


def test_a_template_packs(tmp_path: Path) -> None:
    done = _run("pack", TEMPLATES / "dense_baseline.json", "-o", tmp_path / "a.json", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["solution"] == "sdpa_paged_decode_v1"
    assert "serves" not in json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))


def test_into_a_dataset(dataset: Dataset) -> None:
    for definition in (NORM, gemm.FAMILY.definition(8, 8)):
        dataset.write_definition(definition)
    words = ("pack", ASSETS, "--dataset", dataset.root)
    done = _run(*words, "--dry-run", "--json")
    assert json.loads(done.stdout)["solutions"] == ["linear_gemm_n8_k8", "torch_rmsnorm_h4096"]
    assert not (dataset.root / "solutions").exists()
    done = _run(*words, "--definitions", NORM.name)
    assert done.returncode == 0 and "1 files new" in done.stdout
    assert "1 files new" in _run(*words).stdout
    assert "0 files new" in _run(*words).stdout
    assert [s.name for s in dataset.solutions_of(NORM)] == ["torch_rmsnorm_h4096"]


def test_a_bad_folder_is_named_and_the_others_packed(
    dataset: Dataset, folder: Path, tmp_path: Path
) -> None:
    dataset.write_definition(NORM)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "solution.json").write_text('{"name": "b", "definitions": ["*"]}', encoding="utf-8")
    (bad / "main.py").write_text("def run(:\n", encoding="utf-8")
    done = _run("pack", tmp_path, "--dataset", dataset.root)
    assert done.returncode == 1
    assert "bad: main.py:" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "mine\n1 files new or changed\n"


def test_two_folders_with_one_solution_name(dataset: Dataset, tmp_path: Path) -> None:
    dataset.write_definition(NORM)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("def run(x, w):\n    return x\n", encoding="utf-8")
        text = json.dumps({"name": "same", "definitions": ["*"]})
        (tmp_path / name / "solution.json").write_text(text, encoding="utf-8")
    done = _run("pack", tmp_path, "--dataset", dataset.root)
    assert done.returncode == 1
    assert "one name; received: same" in done.stderr
    assert not (dataset.root / "solutions").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "COMMAND"),
        (("pack", "kernel"), 2, "one of the arguments -o/--output --dataset is required"),
        (("pack", "kernel", "-o", "a.json", "--dataset", "x"), 2, "not allowed with argument"),
        (("pack", "kernel", "-o", "a.json", "--definitions", "x"), 2, "add --dataset"),
        (("pack", "absent", "-o", "a.json"), 2, "no such file"),
        (("pack", "kernel/main.py", "-o", "a.json"), 1, "not JSON"),
        (("pack", "kernel/solution.json", "-o", "a.json"), 1, "name the folder"),
        (("pack", "kernel", "-o", "kernel"), 2, "the output is a folder"),
        (("pack", "kernel", "-o", "/dev/null/a.json"), 2, "cannot be written"),
        (("pack", "kernel", "-o", "kernel/a.json"), 2, "would be packed"),
        (("pack", "kernel", "--dataset", "absent"), 2, "no such dataset"),
        (("pack", "kernel", "--dataset", "dataset"), 4, "no definition of the dataset matches"),
        (("pack", "kernel", "--dataset", "dataset", "--definitions", "x"), 2, "no such definition"),
        (("unpack", "absent.json", "-o", "x"), 2, "no such file"),
        (("unpack", "kernel", "-o", "x"), 2, "cannot be read"),
        (("diff", "kernel", "absent.json"), 2, "no such file"),
        (("diff", "kernel"), 2, "required: B"),
    ],
)
def test_bad_input_is_one_clear_error(
    folder: Path, dataset: Dataset, words: tuple[str, ...], code: int, message: str
) -> None:
    done = _run(*words, cwd=folder.parent)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert sorted(os.listdir(folder.parent)) == ["dataset", "kernel"]


def test_json_may_stand_before_the_command(folder: Path, tmp_path: Path) -> None:
    done = _run("--json", "pack", folder, "-o", tmp_path / "a.json", "--dry-run")
    assert json.loads(done.stdout) == {
        "dry_run": True, "solution": "mine", "path": str(tmp_path / "a.json"),
        "sources": ["lib/k.py", "main.py"], "written": 0,
    }  # fmt: skip
    assert not (tmp_path / "a.json").exists()
