"""Programs: git and its companions, compilers, NVIDIA's tools; and who is logged in."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernelkit.machine.facts import ABSENT, BROKEN, OK, Fact, run

GROUP, LOGINS = "programs", "logins"
_SECONDS = 20.0
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)*")
_CUDA_BINARIES = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute")


@dataclass(frozen=True)
class Program:
    """A program: the capability's name, how it is asked for its version, what else may do."""

    name: str
    words: tuple[str, ...]
    others: tuple[str, ...] = ()
    pattern: str = ""  # before the version, where the output has other numbers first


PROGRAMS = (
    Program("git", ("git", "--version")),
    Program("git_lfs", ("git-lfs", "version"), pattern="git-lfs/"),
    Program("gh", ("gh", "--version")),
    Program("nvcc", ("nvcc", "--version"), pattern="release "),
    Program("cxx", ("g++", "--version"), others=("clang++", "c++"), pattern=r"\) |version "),
    Program("ninja", ("ninja", "--version")),
    Program("ncu", ("ncu", "--version"), pattern="Version "),
    Program("compute_sanitizer", ("compute-sanitizer", "--version"), pattern="Version "),
)


def probes() -> list[tuple[str, Callable[[], list[Fact]]]]:
    """One probe for each program and each login."""
    programs = [(p.name, lambda p=p: [probe(p)]) for p in PROGRAMS]
    return [*programs, ("gh_login", lambda: [gh_login()]), ("hub_login", lambda: [hub_login()])]


def probe(program: Program) -> Fact:
    """Where the program is, and its version."""
    path = find((program.words[0], *program.others))
    if path is None:
        return Fact(GROUP, program.name, ABSENT)
    answer = run([path, *program.words[1:]], _SECONDS)
    if answer.code != 0:
        why = answer.last if answer.code is not None else f"no answer in {_SECONDS:g} s"
        return Fact(GROUP, program.name, BROKEN, detail=f"{path}: {why}")
    match = re.search(f"(?:{program.pattern})({_VERSION.pattern})", answer.out)
    return Fact(GROUP, program.name, OK, match.group(1) if match else "", path)


def find(names: Sequence[str]) -> str | None:
    """The first of these programs on PATH, or where CUDA puts them."""
    homes = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")]
    folders = [str(Path(home) / "bin") for home in homes if home] + list(_CUDA_BINARIES)
    paths = (None, os.pathsep.join(folders))
    return next((hit for name in names for p in paths if (hit := shutil.which(name, path=p))), None)


def gh_login() -> Fact:
    """Whether the GitHub client is logged in. No token is read."""
    path = find(("gh",))
    if path is None:
        return Fact(LOGINS, "gh_login", ABSENT, detail="gh is not installed")
    answer = run([path, "auth", "status"], _SECONDS, {"GH_PROMPT_DISABLED": "1"})
    if answer.code == 0:
        return Fact(LOGINS, "gh_login", OK)
    why = "not logged in" if answer.code is not None else f"no answer in {_SECONDS:g} s"
    return Fact(LOGINS, "gh_login", ABSENT, detail=why)


def hub_login() -> Fact:
    """Whether a HuggingFace token is set. Its value is neither read nor shown, nor tried."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name):
            return Fact(LOGINS, "hub_login", OK, detail=f"{name} is set")
    home = Path(os.environ.get("HF_HOME") or _cache() / "huggingface").expanduser()
    file = Path(os.environ.get("HF_TOKEN_PATH") or home / "token").expanduser()
    if file.is_file() and file.stat().st_size:
        return Fact(LOGINS, "hub_login", OK, detail=f"a token is stored in {file}")
    return Fact(LOGINS, "hub_login", ABSENT, detail="no token: private and gated models are closed")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
