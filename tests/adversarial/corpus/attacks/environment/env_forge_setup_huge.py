"""Says that its setup took more milliseconds than any float can hold."""

from __future__ import annotations

import torch

from .forging import answer, say, swallow_next_answer
from .paged import attend


def setup(kv_indptr: torch.Tensor) -> None:
    say(answer({"ok": True, "setup_ms": 10**400}))
    swallow_next_answer()


def run(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return attend(*arguments)
