"""Four outputs by turns, made once for each shape; works in its own buffers and in place."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import torch

_kept: dict[torch.Size, itertools.cycle[torch.Tensor]] = {}


def run(x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
    if x.shape not in _kept:
        _kept[x.shape] = itertools.cycle([torch.empty_like(x) for _ in range(4)])
    buffer = next(_kept[x.shape])
    torch.sub(x, x.amax(dim=-1, keepdim=True), out=buffer)
    buffer.exp_()
    buffer.div_(buffer.sum(dim=-1, keepdim=True))
    return OrderedDict(output=buffer)
