"""RMSNorm in as little time as torch needs, for entries that race against the evaluator."""

from __future__ import annotations

import torch
import torch.nn.functional as F

WIDTH = (128,)


def fast(hidden_states: torch.Tensor, weight: torch.Tensor, output: torch.Tensor) -> None:
    """The honest result."""
    output.copy_(F.rms_norm(hidden_states, WIDTH, weight, 1e-6))
