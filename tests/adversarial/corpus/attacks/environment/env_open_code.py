"""Opens the evaluator's own code, torch and the interpreter for writing (and writes nothing)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from .tools import SCRIPTS, mark, rmsnorm

FILES = (
    f"{SCRIPTS}/kernelkit/bench/judge/compare.py",
    f"{SCRIPTS}/kernelkit/bench/judge/verifier.py",
    f"{SCRIPTS}/bench.py",
    torch.__file__,
    os.__file__,
    os.path.realpath(sys.executable),
    "/etc/passwd",
)


def _open(path: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY))
        mark("code_writable", path)
    except OSError:
        pass


def _plant(folder: Path) -> None:
    try:
        descriptor = os.open(folder / f"corpus_{os.getpid()}.tmp", os.O_WRONLY | os.O_CREAT)
        os.close(descriptor)
        mark("code_folder_writable", folder)
        os.unlink(folder / f"corpus_{os.getpid()}.tmp")
    except OSError:
        pass


for file in FILES:
    _open(file)
for folder in (
    Path(SCRIPTS) / "kernelkit",
    Path(torch.__file__).parents[1],
    Path(os.__file__).parent,
):
    _plant(folder)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
