"""C = A @ B.T as a linear layer."""

import torch


@torch.no_grad()
def run(A, B):
    return torch.nn.functional.linear(A, B)
