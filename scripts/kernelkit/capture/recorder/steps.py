"""SGLang's step, forward mode and layer, seen by wrapping three of its methods.

A method that another version lacks is left alone: step, mode or layer are then not known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass
class Position:
    """Where the process stands. `step` counts forward passes from 1; 0: before the first. `form` is
    what the shapes of a step's activations follow from; None: not known."""

    step: int = 0
    mode: str | None = None
    layer: int | None = None
    form: Hashable = None


HERE = Position()


def follow(module: ModuleType) -> None:
    """Wrap `forward` of the classes that tell the position."""
    for name, make in (
        ("ModelRunner", _stepping),
        ("RadixAttention", _in_layer),
        ("RadixLinearAttention", _in_layer),
    ):
        owner = vars(module).get(name)
        method = vars(owner).get("forward") if isinstance(owner, type) else None
        if method is not None and not hasattr(method, "_kernelkit"):
            made = functools.wraps(method)(make(method))
            made._kernelkit = True
            owner.forward = made


def _stepping(method: Callable[..., Any]) -> Callable[..., Any]:
    def forward(self: Any, forward_batch: Any, *args: Any, **kwargs: Any) -> Any:
        HERE.step += 1
        mode = getattr(forward_batch, "forward_mode", None)
        HERE.mode = getattr(mode, "name", None)
        tokens = getattr(getattr(forward_batch, "input_ids", None), "shape", None)
        requests = getattr(forward_batch, "batch_size", None)
        HERE.form = None if tokens is None else (HERE.mode, tokens, requests)
        return method(self, forward_batch, *args, **kwargs)

    return forward


def _in_layer(method: Callable[..., Any]) -> Callable[..., Any]:
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        outer, HERE.layer = HERE.layer, self.layer_id
        try:
            return method(self, *args, **kwargs)
        finally:
            HERE.layer = outer

    return forward
