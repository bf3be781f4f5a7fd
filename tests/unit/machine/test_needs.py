"""The table of needs is held against the scripts that exist, and the repairs against pyproject."""

from __future__ import annotations

import re
from pathlib import Path

import imports
import pytest

from kernelkit.machine import checkouts, hardware, packages, programs
from kernelkit.machine.needs import REPAIRS, SCRIPTS

ROOT = Path(__file__).resolve().parents[3]
PATHS = sorted((ROOT / "scripts").glob("[a-z]*.py"))
# Modules that come with a capability of another name.
BRINGS = {package.module.split(".")[0]: package.name for package in packages.PACKAGES}
BRINGS |= {"markupsafe": "jinja2", "pydantic_core": "pydantic", "tree_sitter": "tree_sitter"}
# Parts of the library that every script loads for their tables, and few for what imports these.
ONLY_WITH_TENSORS = ("torch", "tvm_ffi", "flashinfer", "triton", "safetensors")


def _named(script: str) -> set[str]:
    row = SCRIPTS[script]
    wants = [*row.always, *(want for part in row.parts.values() for want in part)]
    return {name for want in wants for name in want.split("|")}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_script_has_a_row(path: Path) -> None:
    assert path.stem in SCRIPTS, f"add {path.stem} to kernelkit/machine/needs.py"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_a_script_loads_is_in_its_row(path: Path) -> None:
    row = SCRIPTS[path.stem]
    for entry in imports.reached(path):
        top = entry.module.split(".")[0]
        need = BRINGS.get(top, top)
        if entry.at_load and not entry.file.startswith("kernelkit/ops/references/"):
            known = need in row.always or need in _named(path.stem)
            assert known, f"{path.stem} loads {top} ({entry.file}); its row does not name {need}"
        elif top not in ONLY_WITH_TENSORS:
            assert need in _named(path.stem) or need == "tqdm" or top == "flashinfer_bench", (
                f"{path.stem} can import {top} ({entry.file}); its row does not name {need}"
            )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_row_names_no_package_that_is_never_imported(path: Path) -> None:
    entries = imports.reached(path)
    brought = {BRINGS.get(top, top) for top in (e.module.split(".")[0] for e in entries)}
    brought |= {"numpy" for entry in entries if entry.module == "safetensors.numpy"}
    core = {"pydantic", "numpy", "safetensors", "huggingface_hub", "tqdm", "jinja2", "yaml"}
    for name in _named(path.stem) & core:
        assert name in brought, f"{path.stem} never imports {name}; take it from its row"


def test_every_need_is_probed_and_has_a_repair() -> None:
    probed = {"torch_gpu"} | {
        name
        for probes in (hardware.probes(Path()), programs.probes(), checkouts.probes(Path()),
                       packages.probes(1.0))
        for name, _ in probes
    }  # fmt: skip
    for script in SCRIPTS:
        for name in _named(script):
            assert name in REPAIRS, f"{script} needs {name}, which no repair brings"
            assert name in probed, f"{script} needs {name}, which no probe finds"


def test_repairs_pin_what_the_project_pins() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pins = dict(re.findall(r'^\s*(?:(?:torch|sglang|compat|ray) = \[)?"([\w-]+)([=<>][^"]+)"',
                           project, re.MULTILINE))  # fmt: skip
    distributions = {package.name: package.distribution for package in packages.PACKAGES}
    checked = 0
    for name, command in REPAIRS.items():
        distribution = distributions.get(name)
        if distribution in pins:
            assert f"{distribution}{pins[distribution]}" in command
            checked += 1
    assert checked >= 12


def test_the_walk_sees_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernelkit"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "inner.py").write_text("def f():\n    import torch\n")
    (tmp_path / "a.py").write_text(
        "import json\nimport numpy\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import sglang\n"
        "def main():\n    from kernelkit.inner import f\n"
    )
    monkeypatch.setattr(imports, "SCRIPTS", tmp_path)
    found = {(e.module, e.at_load) for e in imports.reached(tmp_path / "a.py")}
    assert found == {("numpy", True), ("torch", False)}
