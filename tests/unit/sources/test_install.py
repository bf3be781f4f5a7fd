"""--install: real editable installs of tiny packages, and pip's failure as part of an outcome."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from kernelkit.sources import install as installing
from kernelkit.sources.catalogue import SOURCES
from kernelkit.sources.fetch import install_all
from kernelkit.sources.outcome import Request

# A build backend inside the package: pip needs no index for it.
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "tiny"\nbackend-path = ["."]\n'
BACKEND = """
import pathlib, zipfile
INFO = "tiny_sglang-1.0.dist-info"
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny_sglang-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        wheel.writestr("tiny_sglang.pth", str(pathlib.Path(__file__).parent))
        wheel.writestr(INFO + "/METADATA",
            "Metadata-Version: 2.1\\nName: tiny-sglang\\nVersion: 1.0\\n{requires}")
        wheel.writestr(INFO + "/WHEEL",
            "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(INFO + "/RECORD", "")
    return name
"""


@pytest.fixture
def own_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Python of its own to install into, with the pip of this one."""
    pip = pytest.importorskip("pip")
    venv.create(tmp_path / "venv", with_pip=False)
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "pip").symlink_to(Path(pip.__file__).parent)
    python = str(tmp_path / "venv" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setattr(installing, "_pins", lambda: ["torch==2.0.0\n"])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "only"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return python


def _publish(upstream: Any, requires: str = "") -> None:
    files = {"pyproject.toml": PROJECT, "tiny.py": BACKEND.replace("{requires}", requires),
             "tiny_sglang.py": "WHERE = __file__\n"}  # fmt: skip
    upstream.commit({f"python/{name}": text for name, text in files.items()})


def test_installed_from_the_checkout(desk: Any, upstream: Any, own_python: str) -> None:
    _publish(upstream)
    outcome, source = desk.one(), SOURCES["sglang"]
    planned = list(install_all([source], [outcome], Request(desk.target, dry_run=True)))
    assert "--editable" in planned[0] and str(desk.path / "python") in planned[0]
    assert desk.entry().installed_at is None
    list(install_all([source], [outcome], Request(desk.target)))
    assert outcome.error is None
    code = "import tiny_sglang; print(tiny_sglang.WHERE)"
    found = subprocess.run([own_python, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == str(desk.path / "python" / "tiny_sglang.py")
    stamp = desk.entry().installed_at
    assert stamp is not None
    desk.one()
    assert desk.entry().installed_at == stamp


def test_pip_that_fails_is_named(desk: Any, upstream: Any, own_python: str) -> None:
    _publish(upstream, "Requires-Dist: torch==9.9\\n")
    outcome = desk.one()
    list(install_all([SOURCES["sglang"]], [outcome], Request(desk.target)))
    assert outcome.failed and "pip could not install sglang" in outcome.error
    assert "torch" in outcome.error and desk.entry().installed_at is None


def test_what_is_no_package_is_not_installed(desk: Any, make_upstream: Callable[..., Any]) -> None:
    desk.mirrors["sgl-cookbook"] = str(make_upstream("sgl-cookbook").bare)
    (outcome,) = desk("sgl-cookbook")
    assert list(install_all([SOURCES["sgl-cookbook"]], [outcome], Request(desk.target))) == []


def test_installed_torch_is_pinned() -> None:
    try:
        found = version("torch")
    except PackageNotFoundError:
        pytest.skip("torch is not installed")
    assert f"torch=={found}\n" in installing._pins()
