"""Sampling with knobs: the distribution that is drawn from, right or mistaken, by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.doctor.mutant import Mutant, table

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    top_k: str = "given"  # given, none, less, more, first
    top_p: str = "given"  # given, none, without-crossing, one-more, first, complement
    order: str = "k-first"  # k-first, p-first
    draw: str = "by-mass"  # by-mass, likeliest, even, squared, root
    ids: str = "tokens"  # tokens, ranks, next
    keep: str = "high"  # high, low (the unlikely tokens are kept)


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """{"samples": probabilities [rows, vocabulary]}."""
    import torch

    turned = Knobs(**knobs)
    probs = inputs["probs"].double()
    values, tokens = torch.sort(probs, dim=1, descending=turned.keep == "high", stable=True)
    kept = _kept(inputs, values, turned)
    mass = values.where(kept, 0.0)
    if turned.draw == "even":
        mass = kept.double()
    elif turned.draw == "squared":
        mass = mass.square()
    elif turned.draw == "likeliest":
        mass = (mass == mass.amax(dim=1, keepdim=True)).double()
    elif turned.draw == "root":
        mass = mass.sqrt()
    mass = mass / mass.sum(dim=1, keepdim=True)
    if turned.ids == "ranks":
        return {"samples": mass}
    by_token = torch.zeros_like(mass).scatter_(1, tokens, mass)
    return {"samples": by_token.roll(1, dims=1) if turned.ids == "next" else by_token}


def _kept(inputs: Inputs, values: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """[rows, vocabulary] in the order of `values`: which tokens may be drawn."""
    import torch

    rank = torch.arange(values.shape[1], device=values.device).expand_as(values)
    by_k = rank < _limit(inputs, values, knobs)
    filtered = values if knobs.order == "p-first" else values.where(by_k, 0.0)
    return by_k & _by_mass(inputs, filtered / filtered.sum(dim=1, keepdim=True), rank, knobs)


def _limit(inputs: Inputs, values: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """[rows, 1]: how many tokens top_k keeps."""
    vocab = values.shape[1]
    if "top_k" not in inputs or knobs.top_k == "none":
        return values.new_full((len(values), 1), vocab)
    limit = inputs["top_k"].to(values.device).long()
    if knobs.top_k == "first":
        limit = limit[:1].expand_as(limit)
    limit = limit.where((limit > 0) & (limit <= vocab), vocab)
    return (limit + {"less": -1, "more": 1}.get(knobs.top_k, 0)).clamp(min=1)[:, None]


def _by_mass(
    inputs: Inputs, values: torch.Tensor, rank: torch.Tensor, knobs: Knobs
) -> torch.Tensor:
    if "top_p" not in inputs or knobs.top_p == "none":
        return rank >= 0
    share = inputs["top_p"].to(values.device).double()[:, None]
    if knobs.top_p == "first":
        share = share[:1].expand_as(share)
    elif knobs.top_p == "complement":
        share = 1.0 - share
    up_to = values.cumsum(dim=1)
    before = up_to - values
    kept = {
        "without-crossing": up_to <= share, "one-more": (before - values.roll(1, 1)) < share,
    }.get(knobs.top_p, before < share)  # fmt: skip
    return kept | (rank == 0) | (share >= 1.0)


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    rows = list(_ANY)
    by_k, by_p = "top_k" in definition.inputs, "top_p" in definition.inputs
    if by_p:
        rows = _TOP_P + rows
    if by_k:
        rows = _TOP_K + rows
    return table(rows + (_BOTH if by_k and by_p else []))


_CROSS = "keep tokens while the mass of likelier ones is below p"
_TOP_K = [
    ("top-k-ignored", "top_k filters nothing", "keep the top_k likeliest tokens of each row",
     {"top_k": "none"}),
    ("top-k-one-too-few", "one token too few is kept", "keep top_k tokens", {"top_k": "less"}),
    ("top-k-one-too-many", "one token too many is kept", "keep top_k tokens", {"top_k": "more"}),
    ("top-k-of-first-row", "the first row's top_k is used for all", "use top_k[row]",
     {"top_k": "first"}),
]  # fmt: skip
_TOP_P = [
    ("top-p-ignored", "top_p filters nothing", _CROSS, {"top_p": "none"}),
    ("top-p-without-crossing", "the token that crosses p is not kept", _CROSS,
     {"top_p": "without-crossing"}),
    ("top-p-one-too-many", "a token behind the one that crosses p is kept", _CROSS,
     {"top_p": "one-more"}),
    ("top-p-of-first-row", "the first row's top_p is used for all", "use top_p[row]",
     {"top_p": "first"}),
    ("top-p-complement", "1 - top_p is kept", _CROSS, {"top_p": "complement"}),
]  # fmt: skip
_ANY = [
    ("always-likeliest", "the likeliest token is returned, nothing is drawn",
     "draw from the filtered probabilities", {"draw": "likeliest"}),
    ("drawn-evenly", "kept tokens are drawn evenly", "draw by probability", {"draw": "even"}),
    ("probabilities-squared", "tokens are drawn by the square of their probability",
     "draw by probability", {"draw": "squared"}),
    ("probabilities-rooted", "tokens are drawn by the root of their probability",
     "draw by probability", {"draw": "root"}),
    ("ranks-for-tokens", "the rank among sorted tokens is returned, not the token",
     "gather the token id of the rank", {"ids": "ranks"}),
    ("token-off-by-one", "token ids are one too high", "return the id that was drawn",
     {"ids": "next"}),
    ("unlikely-tokens-kept", "the filter keeps the unlikely tokens", "sort descending",
     {"keep": "low"}),
]  # fmt: skip
_BOTH = [
    ("top-p-before-top-k", "top_p is applied before top_k, to the unfiltered probabilities",
     "filter by top_k, renormalise, then cut by top_p", {"order": "p-first"}),
]  # fmt: skip


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Nothing distinguishes rows."""
    return {}
