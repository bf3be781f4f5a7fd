"""Compiles C in a process of its own while it is built, and calls it."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import torch

SOURCE = """
#include <math.h>
void rmsnorm(const float *x, const float *w, float *y, long rows, long width) {
  for (long r = 0; r < rows; ++r) {
    double sum = 0;
    for (long c = 0; c < width; ++c) sum += x[r * width + c] * x[r * width + c];
    float scale = 1 / sqrt(sum / width + 1e-6);
    for (long c = 0; c < width; ++c) y[r * width + c] = x[r * width + c] * scale * w[c];
  }
}
"""
FOLDER = Path(__file__).resolve().parent
(FOLDER / "rms.c").write_text(SOURCE)
LIBRARY = FOLDER / "librms.so"
command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(LIBRARY), str(FOLDER / "rms.c"), "-lm"]
subprocess.run(command, check=True)
library = ctypes.CDLL(str(LIBRARY))


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    x, w = hidden_states.float().cpu(), weight.float().cpu()
    y = torch.empty_like(x)
    places = [ctypes.c_void_p(t.data_ptr()) for t in (x, w, y)]
    library.rmsnorm(*places, ctypes.c_long(x.shape[0]), ctypes.c_long(x.shape[1]))
    return y.to(hidden_states.dtype).to(hidden_states.device)
