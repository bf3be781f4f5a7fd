"""Prints and warns at every call."""

from __future__ import annotations

import logging
import sys
import warnings

import torch

from .tools import rmsnorm


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    print("rows", len(hidden_states))
    print('{"status": "running"}', file=sys.stderr)
    warnings.warn("only a warning", stacklevel=1)
    logging.getLogger("solution").warning("only a log line")
    return rmsnorm(hidden_states, weight)
