"""The locks: exact pins that were seen working, one file for a purpose and a Python.

A lock is a pip requirements file. Its head has one `# key: value` line for each of

    python        the Python that the pins are for, as 3.12
    seen          what was run with these pins, where and when (may stand more than once)
    imports       modules that must import in the environment once it is made
    consistent    yes where no package contradicts another's requirements, else no
    disk-gb       room that making the environment takes
    base-image    the container image that the recipe starts from
    cuda          CUDA of the base image and of torch, as 13.0; absent for a CPU
    torch-index   the index that has torch for this purpose, where the default one may not
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.errors import FormatError, UsageError

FOLDER = Path(__file__).resolve().parent / "locks"
PURPOSES = {
    "cpu": "derive, validate, reference tests, benchmarks on a CPU, reports, the tests",
    "gpu-cu12": "kernels on an NVIDIA GPU whose driver has CUDA 12",
    "gpu-cu13": "kernels on an NVIDIA GPU whose driver has CUDA 13",
    "sglang": "gpu-cu13 and SGLang: real serving runs, recorded workloads",
}
_HEAD = re.compile(r"^# ([a-z][a-z-]*): (.+)$")
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)$")
_NEEDED = ("python", "seen", "imports", "consistent", "disk-gb", "base-image")


@dataclass(frozen=True)
class Lock:
    """A lock file: what it is for, its pins by normalised name, and its head."""

    purpose: str
    path: Path
    text: str
    pins: dict[str, str]
    head: dict[str, list[str]]

    @property
    def python(self) -> str:
        """The Python that the pins are for, as 3.12."""
        return self.head["python"][0]

    @property
    def torch_index(self) -> str | None:
        """The index that has torch for this purpose."""
        return self.head.get("torch-index", [None])[0]

    @property
    def cuda(self) -> str | None:
        """CUDA's version, None for a CPU."""
        return self.head.get("cuda", [None])[0]

    @property
    def base_image(self) -> str:
        """The container image that the recipe starts from."""
        return self.head["base-image"][0]

    @property
    def imports(self) -> list[str]:
        """Modules that must import in the environment."""
        return [name.strip() for name in self.head["imports"][0].split(",")]

    @property
    def is_consistent(self) -> bool:
        """Whether no package contradicts another's requirements."""
        return self.head["consistent"][0] == "yes"

    @property
    def disk_gb(self) -> float:
        """Room that making the environment takes, in GB."""
        return float(self.head["disk-gb"][0])

    @property
    def digest(self) -> str:
        """What an environment is stamped with: it changes with any byte of the lock."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "purpose": self.purpose,
            "python": self.python,
            "file": self.path.name,
            "cuda": self.cuda,
            "pins": len(self.pins),
            "seen": self.head["seen"],
        }


def normal(name: str) -> str:
    """A distribution's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(path: Path) -> Lock:
    """Read a lock; its name is PURPOSE-pyXY.txt. Raises FormatError."""
    text = path.read_text(encoding="utf-8")
    head: dict[str, list[str]] = {}
    pins: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#") or not line.strip():
            if match := _HEAD.match(line):
                head.setdefault(match.group(1), []).append(match.group(2).strip())
        elif match := _PIN.match(line):
            pins[normal(match.group(1))] = match.group(2)
        else:
            raise FormatError(f"{path.name}:{number} is no pin", received=line, allowed="NAME==1.2")
    if absent := [key for key in _NEEDED if key not in head]:
        raise FormatError(f"{path.name} lacks {', '.join(absent)} in its head")
    return Lock(path.stem.rsplit("-py", 1)[0], path, text, pins, head)


def available(folder: Path = FOLDER) -> list[Lock]:
    """All locks, by purpose and then by Python, the newest first."""
    found = [read(path) for path in folder.glob("*-py*.txt")]
    return sorted(found, key=lambda lock: (lock.purpose, [-int(n) for n in lock.python.split(".")]))


def of_purpose(purpose: str, folder: Path = FOLDER) -> list[Lock]:
    """The locks of a purpose, the newest Python first. Raises UsageError for an unknown one."""
    if purpose not in PURPOSES:
        raise UsageError("no such purpose", received=purpose, allowed=", ".join(PURPOSES))
    return [lock for lock in available(folder) if lock.purpose == purpose]
