"""RMSNorm by torch's fused operator."""

import torch
import torch.nn.functional as F

EPS = 1e-6


@torch.no_grad()
def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    x = hidden_states.float()
    return F.rms_norm(x, (x.shape[-1],), weight.float(), EPS).to(hidden_states.dtype)
