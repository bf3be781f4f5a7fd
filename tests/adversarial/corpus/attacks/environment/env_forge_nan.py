"""Answers with numbers that JSON does not have."""

from __future__ import annotations

import os
import struct

import torch

from .forging import request, say


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    data = f'{{"request": {request()}, "value": {{"ok": NaN, "x": -Infinity}}}}'.encode()
    say(struct.pack("!I", len(data)) + data)
    os._exit(0)
    return torch.zeros_like(hidden_states)
