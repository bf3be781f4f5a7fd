"""Returns an object that runs code where it is unpickled."""

from __future__ import annotations

import torch

from .tools import MARKS


class Bomb:
    """Its unpickling leaves a mark."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (exec, (f"open({MARKS!r} + '/unpickled.mark', 'a').write('x')",))


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> object:
    return Bomb()
