"""What a pass asks of the engine: token ids, so that no tokenizer is needed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SAMPLING = {"temperature": 1.0, "top_k": 50, "top_p": 0.9, "ignore_eos": True}


@dataclass(frozen=True)
class Batch:
    """Requests sent together: prompt lengths, the tokens to generate, how to sample."""

    prompt_lens: list[int]
    new_tokens: int
    sampling: dict[str, float] = field(default_factory=lambda: dict(SAMPLING))


def short_pass() -> list[Batch]:
    """One request, then four of different lengths: prefill alone, and decode at two sizes."""
    return [Batch([16], 4), Batch([7, 19, 33, 64], 4)]


def token_ids(batch: Batch, vocab_size: int, seed: int = 0) -> list[list[int]]:
    """Prompts of random token ids, the same for the same seed."""
    draw = random.Random(seed)
    low = min(10, vocab_size - 1)  # below are often control tokens
    return [[draw.randrange(low, vocab_size) for _ in range(n)] for n in batch.prompt_lens]
