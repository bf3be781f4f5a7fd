"""An error whose text no file can hold: lone surrogates, NUL, escape sequences."""

from __future__ import annotations

import torch


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("\ud800 \udfff \0 \x1b[2J \u2028 \x85")
