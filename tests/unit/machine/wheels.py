"""Wheels of nothing, and a lock of them: environments without a network."""

from __future__ import annotations

import zipfile
from pathlib import Path

from kernelkit.machine.environments.locks import Lock, read

HEAD = """\
# python: {python}
# seen: here
# imports: {imports}
# consistent: yes
# disk-gb: 0.1
# base-image: python:{python}-slim-bookworm
"""


def wheel(folder: Path, name: str, version: str, *, requires: str = "") -> Path:
    """A wheel with one module of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


def lock(folder: Path, python: str, *pins: str, imports: str = "sys") -> Lock:
    """A lock file of these pins."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"cpu-py{python.replace('.', '')}.txt"
    head = HEAD.format(python=python, imports=imports)
    path.write_text(head + "\n".join(pins) + "\n", encoding="utf-8")
    return read(path)
