"""Its answer to being loaded names odd inputs of a setup, and it lives on."""

from __future__ import annotations

import torch

from .forging import answer, say, swallow_next_answer
from .tools import rmsnorm

say(answer({"ok": True, "setup": [1, None, ["hidden_states"]]}))
swallow_next_answer()


def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return rmsnorm(hidden_states, weight)
