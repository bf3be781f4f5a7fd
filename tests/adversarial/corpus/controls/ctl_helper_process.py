"""A process of its own, started when it is imported, does the work of every call over pipes."""

from __future__ import annotations

import subprocess
import sys

import torch

HELPER = """
import sys
while line := sys.stdin.readline():
    sys.stdout.write(line[::-1].strip() + "\\n")
    sys.stdout.flush()
"""
_helper = subprocess.Popen(
    [sys.executable, "-c", HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    _helper.stdin.write("2\n")
    _helper.stdin.flush()
    power = float(_helper.stdout.readline())
    x = hidden_states.to(torch.float32)
    scale = torch.rsqrt(x.pow(power).mean(dim=-1, keepdim=True) + 1e-6)
    return (x * scale * weight.to(torch.float32)).to(hidden_states.dtype)
