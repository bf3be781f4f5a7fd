"""The folder in which an agent works: a copy of the pack outside the repository, and its inputs.

With the skill: all playbooks and guides. Without: the same scripts, no playbook and no guide, so
that what is measured is the text. Tests and evals are in neither: an agent cannot read the checks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from evaluating.cases import ROOT, Case
from evaluating.digests import digests

WITH, WITHOUT = "with", "without"
MODES = (WITH, WITHOUT)
GUIDES = ("CLAUDE.md", "AGENTS.md", "README.md")
PARTS = ("scripts", "templates", "pyproject.toml", "LICENSE")
SETUP_SECONDS = 300.0


class SetupError(Exception):
    """A line of a case's setup failed: the case is wrong, not the agent."""


def prepare(case: Case, mode: str, folder: Path) -> dict[str, dict[str, str]]:
    """Fill `folder`, which must not exist; returns the digests that `unchanged` checks need.

    Raises SetupError.
    """
    folder.mkdir(parents=True)
    _copy_pack(folder, mode)
    for source in case.sources:
        target = folder / source.name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    for line in case.setup:
        _run(line, folder, case)
    paths = [check["path"] for check in case.checks if check["kind"] == "unchanged"]
    return {path: digests(folder, path) for path in paths}


def _copy_pack(folder: Path, mode: str) -> None:
    for part in PARTS:
        if (ROOT / part).is_dir():
            left_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, ignore=left_out)
        else:
            shutil.copy(ROOT / part, folder / part)
    texts = ("*.md",) if mode == WITHOUT else ()
    left_out = shutil.ignore_patterns("__pycache__", "evals", *texts)
    shutil.copytree(ROOT / ".claude", folder / ".claude", ignore=left_out)
    if mode == WITH:
        for name in GUIDES:
            shutil.copy(ROOT / name, folder / name)


def environment() -> dict[str, str]:
    """This Python is `python`; what this session set for its own tests is not passed on."""
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "KERNELKIT"))}
    return {**kept, "PATH": folders}


def _run(line: str, folder: Path, case: Case) -> None:
    done = subprocess.run(
        ["bash", "-euc", line], cwd=folder, env={**environment(), "PACK": str(ROOT)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SETUP_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise SetupError(f"{case.name}: {line}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
