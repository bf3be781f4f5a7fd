"""Ops whose output is a random draw: compare frequencies, and refuse what may never be drawn.

Frequencies: a two-sample chi-square test between the solution's draws and the reference's, row by
row, rare values pooled. Support, where the inputs are probabilities: a drawn token must be among
the top_k largest, and the share of strictly likelier tokens in their mass below top_p.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kernelkit.bench.compare import Verdict
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    import torch

POOLED_BELOW = 10  # a value seen less often, in both samples together, joins the pool
LIMIT = 5.0  # standard deviations: a right sampler is refused once in 3.5 million rows
MASS_SLACK = 1e-4  # float32 sums over a vocabulary in any order


def compare_draws(got: torch.Tensor, want: torch.Tensor, inputs: dict[str, Any]) -> Verdict:
    """The verdict on `got` [draws, rows] against `want` [draws, rows] for the same inputs."""
    if got.shape[1:] != want.shape[1:] or not len(got):
        return Verdict(Status.INCORRECT_SHAPE, message="draws of another shape than the first")
    outside = outside_support(got, inputs)
    if outside:
        text = f"{outside} of {got.numel()} draws may not be drawn (top_k, top_p, range)"
        return Verdict(Status.INCORRECT_NUMERICAL, math.inf, math.inf, 0.0, text)
    mine, theirs = got.reshape(len(got), -1), want.reshape(len(want), -1)
    scores = [deviation(mine[:, row], theirs[:, row]) for row in range(mine.shape[1])]
    highest = max(scores, default=0.0)
    text = f"{len(got)} draws per row, largest deviation {highest:.1f} sigma"
    if highest > LIMIT:
        return Verdict(Status.INCORRECT_NUMERICAL, message=f"frequencies differ: {text}")
    return Verdict(Status.PASSED, message=text)


def deviation(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """How unlikely two samples [n], [m] of one distribution are, in standard deviations.

    Chi-square for samples of unequal size; its upper tail as a normal deviate by Wilson and
    Hilferty's cube root.
    """
    import torch

    values = torch.cat([mine, theirs]).unique()
    first = (mine[:, None] == values).sum(dim=0).double()
    second = (theirs[:, None] == values).sum(dim=0).double()
    rare = (first + second) < POOLED_BELOW
    first = torch.cat([first[~rare], first[rare].sum()[None]])
    second = torch.cat([second[~rare], second[rare].sum()[None]])
    filled = (first + second) > 0
    first, second = first[filled], second[filled]
    freedom = len(first) - 1
    if freedom < 1:
        return 0.0
    scale = math.sqrt(len(theirs) / len(mine))
    chi = float(((scale * first - second / scale).square() / (first + second)).sum())
    spread = 2 / (9 * freedom)
    return ((chi / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def outside_support(draws: torch.Tensor, inputs: dict[str, Any]) -> int:
    """How many `draws` [n, rows] no top-k and top-p sampler of `inputs` may return."""
    import torch

    probs = inputs.get("probs")
    if probs is None or probs.dim() != 2:
        return 0
    vocab = probs.shape[1]
    tokens = draws.t().long()  # [rows, n]
    beyond = (tokens < 0) | (tokens >= vocab)
    chosen = probs.gather(1, tokens.clamp(0, vocab - 1))
    ordered = probs.sort(dim=1, descending=True).values
    mass = ordered.double().cumsum(dim=1)
    above = torch.searchsorted(-ordered, -chosen.contiguous())  # strictly likelier tokens
    bad = beyond | (chosen <= 0)
    kept = mass[:, -1:]
    if inputs.get("top_k") is not None:
        limits = torch.as_tensor(inputs["top_k"]).long().expand(len(probs))[:, None]
        limits = torch.where((limits < 1) | (limits > vocab), vocab, limits)
        bad |= above >= limits
        kept = mass.gather(1, limits - 1)
    if inputs.get("top_p") is not None:
        before = torch.where(above > 0, mass.gather(1, (above - 1).clamp(min=0)), 0.0) / kept
        bad |= before >= torch.as_tensor(inputs["top_p"]).expand(len(probs))[:, None] + MASS_SLACK
    return int(bad.sum())
