"""numpy inside."""

from __future__ import annotations

import numpy as np
import torch


def run(x: torch.Tensor) -> torch.Tensor:
    values = x.cpu().numpy()
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return torch.from_numpy(powers / powers.sum(axis=-1, keepdims=True)).to(x.device)
