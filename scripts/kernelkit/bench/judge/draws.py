"""Ops whose output is a random draw: compare frequencies, and refuse what may never be drawn.

Frequencies, two tests. A two-sample chi-square between the solution's draws and the reference's,
row by row, rare values pooled. And, where the inputs are probabilities, the place of each draw in
the distribution that they give: tokens by falling probability, a random point of the drawn one's
share. Those places are uniform for a right sampler, whatever the distribution: rows can be pooled.

Support, where the inputs are probabilities: a drawn token must be among the top_k largest, and the
share of strictly likelier tokens in their mass below top_p.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kernelkit.bench.judge.compare import Verdict
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    import torch

POOLED_BELOW = 10  # a value seen less often, in both samples together, joins the pool
BINS = 16  # of the places
LIMIT = 5.0  # standard deviations: a right sampler is refused once in 3.5 million rows
MASS_SLACK = 1e-4  # float32 sums over a vocabulary in any order


def compare_draws(got: torch.Tensor, want: torch.Tensor, inputs: dict[str, Any]) -> Verdict:
    """The verdict on `got` [draws, rows] against `want` [draws, rows] for the same inputs."""
    if got.shape[1:] != want.shape[1:] or not len(got):
        return Verdict(Status.INCORRECT_SHAPE, message="draws of another shape than the first")
    outside = outside_verdict(got, inputs)
    if outside.status is not Status.PASSED:
        return outside
    mine, theirs = got.reshape(len(got), -1), want.reshape(len(want), -1).to(got.device)
    scores = [deviation(mine[:, row], theirs[:, row]) for row in range(mine.shape[1])]
    together = sum(scores) / math.sqrt(len(scores))
    highest = max([*scores, together, unevenness(mine, inputs)])
    text = f"{len(got)} draws per row, largest deviation {highest:.1f} sigma"
    if highest > LIMIT:
        return Verdict(Status.INCORRECT_NUMERICAL, message=f"frequencies differ: {text}")
    return Verdict(Status.PASSED, message=text)


def outside_verdict(draws: torch.Tensor, inputs: dict[str, Any]) -> Verdict:
    """Whether all `draws` [rows] or [draws, rows] are tokens that may be drawn."""
    outside = outside_support(draws.reshape(-1, draws.shape[-1]), inputs)
    if not outside:
        return Verdict(Status.PASSED)
    text = f"{outside} of {draws.numel()} draws may not be drawn (top_k, top_p, range)"
    return Verdict(Status.INCORRECT_NUMERICAL, math.inf, math.inf, 0.0, text)


def unevenness(draws: torch.Tensor, inputs: dict[str, Any]) -> float:
    """How unlikely it is that the places of `draws` [n, rows] are uniform, in standard deviations:
    of the worst row, or of all rows together."""
    import torch

    probs = inputs.get("probs")
    if probs is None or probs.dim() != 2:
        return 0.0
    places = draw_places(draws, inputs)
    counts = torch.stack(
        [torch.histc(row, BINS, 0.0, 1.0) for row in places.float().cpu().unbind(1)], dim=1
    )
    clear = ~tied(inputs).cpu()
    samples = [*counts[:, clear].unbind(1), counts[:, clear].sum(dim=1)]
    return max(_uneven(sample.double()) for sample in samples)


def _uneven(counts: torch.Tensor) -> float:
    """The chi-square of `counts` against equal ones, in standard deviations."""
    expected = float(counts.sum()) / len(counts)
    if expected < POOLED_BELOW / 2:
        return 0.0
    return _normal(float((counts - expected).square().sum()) / expected, len(counts) - 1)


def decided_places(draws: torch.Tensor, inputs: dict[str, Any], seed: int) -> torch.Tensor:
    """The places of one call's `draws` [rows], of the rows without a tie; none where the inputs are
    no probabilities. `seed`: another one for each call, so that places can be pooled."""
    probs = inputs.get("probs")
    if probs is None or probs.dim() != 2:
        return draws.new_zeros(0).double()
    return draw_places(draws[None], inputs, seed)[0, ~tied(inputs)]


def compare_pooled(places: torch.Tensor) -> Verdict:
    """The verdict on the places of many calls, each with contents of its own: [n], uniform for a
    right sampler. One that draws rightly where contents repeat alone is seen here."""
    import torch

    bins = min(BINS, len(places) // POOLED_BELOW)
    if bins < 2:
        return Verdict(Status.PASSED)
    score = _uneven(torch.histc(places.float().cpu(), bins, 0.0, 1.0).double())
    if score <= LIMIT:
        return Verdict(Status.PASSED)
    text = f"over all calls, {len(places)} draws are not of their distributions: {score:.1f} sigma"
    return Verdict(Status.INCORRECT_NUMERICAL, message=text)


def draw_places(
    draws: torch.Tensor, inputs: dict[str, Any], seed: int | None = None
) -> torch.Tensor:
    """[n, rows] in [0, 1): the mass of the likelier tokens, and a random part of the own."""
    import torch

    mass, tokens = filtered(inputs)
    rank = torch.empty_like(tokens).scatter_(
        1, tokens, torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    )
    drawn = rank.gather(1, draws.t().long())  # [rows, n]
    own, above = mass.gather(1, drawn), (mass.cumsum(dim=1) - mass).gather(1, drawn)
    part = torch.rand(own.shape, generator=_parts(len(draws) if seed is None else seed))
    return (above + part.to(own.device) * own).clamp(0.0, 1.0 - 1e-7).t()


def _parts(seed: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed)


def filtered(inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The distribution drawn from, by falling probability, and its tokens: [rows, vocabulary]."""
    import torch

    probs = inputs["probs"].double()
    vocab = probs.shape[1]
    values, tokens = torch.sort(probs, dim=1, descending=True, stable=True)
    rank = torch.arange(vocab, device=probs.device)
    if inputs.get("top_k") is not None:
        values = values.masked_fill(rank >= _limits(inputs, vocab), 0.0)
    values = values / values.sum(dim=1, keepdim=True)
    if inputs.get("top_p") is not None:
        share = torch.as_tensor(inputs["top_p"]).to(values).expand(len(values))[:, None]
        before = values.cumsum(dim=1) - values
        values = values.masked_fill((before >= share) & (rank > 0) & (share < 1.0), 0.0)
    return values / values.sum(dim=1, keepdim=True), tokens


def tied(inputs: dict[str, Any]) -> torch.Tensor:
    """[rows]: whether the last token that is kept is as likely as the first that is not."""
    mass, tokens = filtered(inputs)
    probs = inputs["probs"].gather(1, tokens)
    last = (mass > 0).sum(dim=1, keepdim=True) - 1
    after = (last + 1).clamp(max=probs.shape[1] - 1)
    return ((probs.gather(1, last) == probs.gather(1, after)) & (after > last))[:, 0]


def _limits(inputs: dict[str, Any], vocab: int) -> torch.Tensor:
    """[rows, 1]: how many tokens top_k keeps."""
    import torch

    probs = inputs["probs"]
    limits = torch.as_tensor(inputs["top_k"]).to(probs.device).long().expand(len(probs))[:, None]
    return limits.where((limits >= 1) & (limits <= vocab), vocab)


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
    return _normal(chi, freedom)


def _normal(chi: float, freedom: int) -> float:
    """A chi-square as a normal deviate."""
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
        limits = _limits(inputs, vocab)
        bad |= above >= limits
        kept = mass.gather(1, limits - 1)
    if inputs.get("top_p") is not None:
        before = torch.where(above > 0, mass.gather(1, (above - 1).clamp(min=0)), 0.0) / kept
        share = torch.as_tensor(inputs["top_p"]).to(probs).expand(len(probs))[:, None]
        bad |= before >= share + MASS_SLACK
    return int(bad.sum())
