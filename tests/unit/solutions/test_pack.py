"""Folders become Solutions, with the constants of their definition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernelkit.errors import FormatError, UsageError
from kernelkit.ops import gemm, rmsnorm
from kernelkit.solutions.pack import folders, pack, set_constants

ASSETS = Path(__file__).resolve().parents[3] / "scripts" / "demo_assets" / "solutions"


def _folder(root: Path, manifest: object, **sources: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "solution.json").write_text(json.dumps(manifest), encoding="utf-8")
    for name, text in sources.items():
        (root / f"{name}.py").write_text(text, encoding="utf-8")
    return root


def test_bundled_solutions_take_the_definitions_epsilon() -> None:
    definition = rmsnorm.FAMILY.definition(4096, 1e-5)
    ((found, solution),) = pack(ASSETS / "rmsnorm", [definition, gemm.FAMILY.definition(8, 8)])
    assert found is definition
    assert solution.name == "torch_rmsnorm_h4096"
    assert "\nEPS = 1e-05\n" in solution.sources[0].content
    assert solution.spec.entry_point == "main.py::run"
    assert not solution.spec.destination_passing_style


def test_every_bundled_folder_packs() -> None:
    assert len(folders(ASSETS)) == 6
    for folder in folders(ASSETS):
        compile((folder / "main.py").read_text(encoding="utf-8"), "main.py", "exec")


def test_files_below_are_sources(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "s", {"name": "a", "definitions": ["gemm_*"]}, main="x = 1\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "kernel.py").write_text("y = 2\n", encoding="utf-8")
    ((_, solution),) = pack(folder, [gemm.FAMILY.definition(8, 8)])
    assert [source.path for source in solution.sources] == ["deep/kernel.py", "main.py"]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"name": "a"}, "needs the keys"),
        ([], "needs the keys"),
        ({"name": "a", "definitions": ["*"], "nmae": 1}, "unknown keys"),
        ({"name": "a", "definitions": ["*"], "entry_point": "other.py::run"}, "not a solution"),
        ({"name": "a", "definitions": ["*"], "language": "basic"}, "not a solution"),
    ],
)
def test_bad_manifests(tmp_path: Path, manifest: object, message: str) -> None:
    folder = _folder(tmp_path, manifest, main="x = 1\n")
    with pytest.raises(FormatError, match=message):
        list(pack(folder, [gemm.FAMILY.definition(8, 8)]))


def test_folders_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        folders(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"no solution\.json"):
        folders(tmp_path)


def test_constants_change_at_top_level_only() -> None:
    text = "EPS = 1\ndef f():\n    EPS = 2\nEPSILON = 3\n"
    changed = set_constants(text, {"eps": 0.5, "absent": None})
    assert changed == "EPS = 0.5\ndef f():\n    EPS = 2\nEPSILON = 3\n"
