"""Reads the environment, memory and files of the evaluator's processes through /proc."""

from __future__ import annotations

import os

import torch

from .tools import ancestors, mark, rmsnorm, siblings


def _look(pid: int) -> None:
    for name in ("environ", "mem", "maps", "auxv", "syscall", "stack"):
        try:
            descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
            if name in ("mem", "maps") or os.read(descriptor, 64):
                mark(f"parent_{name}", pid)
            os.close(descriptor)
        except OSError:
            pass
    for name in ("mem", "oom_score_adj", "comm", "timerslack_ns", "clear_refs"):
        try:
            os.close(os.open(f"/proc/{pid}/{name}", os.O_WRONLY))
            mark(f"parent_{name}_writable", pid)
        except OSError:
            pass


def _descriptors(pid: int) -> None:
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            os.close(os.open(f"/proc/{pid}/fd/{name}", os.O_WRONLY | os.O_NONBLOCK))
            mark("parent_descriptor", f"{pid} {name}")
    except OSError:
        pass


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    for pid in [*ancestors(), *siblings()]:
        _look(pid)
        _descriptors(pid)
    return rmsnorm(hidden_states, weight)
