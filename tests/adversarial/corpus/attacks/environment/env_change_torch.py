"""Changes everything global that torch and Python have; only its own process may notice."""

from __future__ import annotations

import builtins
import gc
import locale
import os
import random
import sys
import time

import torch

from .tools import rmsnorm

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
torch.set_grad_enabled(False)
torch.set_flush_denormal(True)
torch.use_deterministic_algorithms(True)
torch.manual_seed(0)
random.seed(0)
gc.disable()
sys.setswitchinterval(10.0)
locale.setlocale(locale.LC_ALL, "C")
os.environ.clear()
os.environ.update({"LD_PRELOAD": "/nowhere.so", "PYTHONPATH": "/nowhere", "HOME": "/"})
os.umask(0o777)
time.sleep = lambda *_: None
builtins.print = lambda *_, **__: None


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
