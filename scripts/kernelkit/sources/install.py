"""--install: editable installs of the checkouts into the Python that runs this."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kernelkit.errors import KernelkitError
from kernelkit.sources.catalogue import Source

_SHOWN = 5  # lines of pip's output that an error shows
_TELLING = re.compile(r"^ERROR|^error:|depends on|requested \(constraint\)|[Nn]o space left")
_KEPT = ("torch", "triton")  # never replaced: pip refuses instead


def command(source: Source, path: Path, constraints: Path | None = None) -> list[str]:
    """The pip command of one checkout."""
    words = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    words += ["--constraint", str(constraints)] if constraints else []
    return [*words, "--editable", str((path / (source.package or ".")).absolute())]


def install(source: Source, path: Path) -> None:
    """Install the checkout. Raises KernelkitError with the end of what pip said."""
    with tempfile.TemporaryDirectory(prefix="kernelkit_pip_") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(_pins()), encoding="utf-8")
        words = command(source, path, constraints)
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise KernelkitError(
            f"pip could not install {source.name}",
            received=_short(done.stdout + done.stderr),
            allowed="versions that go with the installed " + " and ".join(_KEPT),
            next_step=" ".join(command(source, path)),
        )


def _short(said: str) -> str:
    """The lines that say why, else the last ones."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)]
    return " / ".join(telling[:_SHOWN] or lines[-_SHOWN:])


def _pins() -> list[str]:
    """The packages that must stay as they are, as pip constraints."""
    pins = []
    for name in _KEPT:
        try:
            pins.append(f"{name}=={version(name)}\n")
        except PackageNotFoundError:
            continue
    return pins
