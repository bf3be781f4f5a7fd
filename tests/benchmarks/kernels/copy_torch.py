"""y = x by torch's copy kernel."""

import torch


@torch.no_grad()
def run(x, y):
    y.copy_(x)
