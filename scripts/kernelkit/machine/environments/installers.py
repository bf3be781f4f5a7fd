"""What pip and uv are asked: the words of their commands, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import MissingDependencyError

NAMES = ("auto", "pip", "uv")
# The index of CPU builds may be out of reach; then the default index has to do, and soon.
_IMPATIENT = ["--retries", "0", "--timeout", "15"]


@dataclass(frozen=True)
class Installer:
    """`program` is uv's path, or empty for venv and pip."""

    name: str
    program: str = ""

    def venv(self, interpreter: str, folder: Path) -> list[str]:
        """Make an environment that has pip in it."""
        if self.program:
            words = [self.program, "venv", "--seed", "--allow-existing", "--python", interpreter]
            return [*words, str(folder)]
        return [interpreter, "-m", "venv", str(folder)]

    def install(
        self, python: Path, what: Sequence[str], *, index: str = "", impatient: bool = False
    ) -> list[str]:
        """Install requirements, options of the install command among them."""
        if self.program:
            words = [self.program, "pip", "install", "--python", str(python)]
            return [*words, *(["--index-url", index] if index else []), *what]
        words = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        patience = _IMPATIENT if impatient else []
        return [*words, *patience, *(["--index-url", index] if index else []), *what]

    def check(self, python: Path) -> list[str]:
        """Hold the packages against each other's requirements."""
        if self.program:
            return [self.program, "pip", "check", "--python", str(python)]
        return [str(python), "-m", "pip", "check", "--disable-pip-version-check"]


def choose(wanted: str) -> Installer:
    """uv where it is there and not declined, else pip. Raises MissingDependencyError."""
    uv = shutil.which("uv") if wanted in ("auto", "uv") else None
    if uv:
        return Installer("uv", uv)
    if wanted == "uv":
        raise MissingDependencyError("uv is not on PATH", next_step="take --installer pip")
    return Installer("pip")
