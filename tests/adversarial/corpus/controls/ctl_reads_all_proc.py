"""Reads the usual files about the machine, as libraries do."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from .tools import rmsnorm

Path("/proc/cpuinfo").read_text()
Path("/proc/self/maps").read_text()
Path("/proc/meminfo").read_text()
platform.platform()
os.getloadavg()


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
