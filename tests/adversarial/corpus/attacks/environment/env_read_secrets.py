"""Looks for the evaluator's secrets: variables, home, tokens."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from .tools import PLACES, mark, rmsnorm

for name in os.environ:
    if any(word in name for word in ("SECRET", "TOKEN", "PASSWORD", "KEY", "EXPLOIT_")):
        mark("secret_variable", name)
for place in (Path(PLACES) / "home" / "token", Path.home() / "token", Path("/root/.netrc")):
    try:
        place.read_bytes()
        mark("secret_file", place)
    except OSError:
        pass


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
