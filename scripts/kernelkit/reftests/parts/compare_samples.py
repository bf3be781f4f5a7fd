"""Whether drawn tokens follow a distribution."""

from __future__ import annotations

import torch

ENOUGH = 5.0  # expected draws of a cell that is counted by itself
SURE = 20.0  # expected draws of a token that cannot be absent (e^-20)
SIGMAS = 6.0  # of the chi-square statistic
NEVER = 1e-9  # a token of less probability is none that may be drawn


def compare_draws(samples: torch.Tensor, probs: torch.Tensor) -> dict[str, float]:
    """Draws [n] from probs [vocabulary]: the support, then Pearson's chi-square. Raises
    AssertionError."""
    counts = torch.bincount(samples.long(), minlength=len(probs)).double()
    outside = ((counts > 0) & (probs < NEVER)).nonzero().flatten().tolist()
    assert not outside, f"tokens {outside[:5]} were drawn, but the filters remove them"
    expected = probs * len(samples)
    absent = ((counts == 0) & (expected >= SURE)).nonzero().flatten().tolist()
    assert not absent, f"tokens {absent[:5]} are never drawn in {len(samples)} draws"
    cells = expected >= ENOUGH
    seen = torch.cat([counts[cells], counts[~cells].sum()[None]])
    wanted = torch.cat([expected[cells], expected[~cells].sum()[None]])
    seen, wanted = seen[wanted >= ENOUGH], wanted[wanted >= ENOUGH]
    statistic = float(((seen - wanted).square() / wanted).sum())
    freedom = max(1, len(wanted) - 1)
    limit = freedom + SIGMAS * (2.0 * freedom) ** 0.5
    assert statistic <= limit, f"chi-square {statistic:.1f} over {freedom} cells, above {limit:.1f}"
    cosine = torch.nn.functional.cosine_similarity(counts, expected, dim=0)
    return {"chi_square": statistic, "cells": freedom, "cosine": float(cosine)}
