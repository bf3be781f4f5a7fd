"""Looks for the evaluator's secrets: variables, home, tokens."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from .tools import PLACES, mark, rmsnorm

for name in os.environ:
    if any(word in name for word in ("SECRET", "TOKEN", "PASSWORD", "KEY", "EXPLOIT_")):
        mark("secret_variable", name)
try:  # what the process was started with stays readable when os.environ is cleared
    for started in Path("/proc/self/environ").read_bytes().split(b"\0"):
        if any(word in started for word in (b"SECRET", b"TOKEN", b"PASSWORD", b"EXPLOIT_")):
            mark("secret_variable", started.split(b"=")[0].decode(errors="replace"))
except OSError:
    pass
for place in (Path(PLACES) / "home" / "token", Path.home() / "token", Path("/root/.netrc")):
    try:
        place.read_bytes()
        mark("secret_file", place)
    except OSError:
        pass


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
