"""Wrong and right kernels of sampling and of the sparse-attention indexer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from kernelkit.dataset.definition import Definition


class Sampler:
    """Draws by inverting the running sum, right unless `flaw` is set."""

    def __init__(self, definition: Definition, flaw: str = "", seed: int = 0) -> None:
        self.names = list(definition.inputs)
        self.flaw = flaw
        self.rng = torch.Generator().manual_seed(seed)

    def __call__(self, *arguments: torch.Tensor) -> torch.Tensor:
        """One token a row."""
        x = dict(zip(self.names, arguments, strict=True))
        probs = x["probs"].double()
        if self.flaw == "one row for all":
            probs = probs[:1].expand_as(probs)
        values, tokens = probs.sort(dim=1, descending=True)
        values = self._filter(values, x)
        if self.flaw == "greedy":
            return tokens[:, 0]
        if self.flaw == "even":
            values = (values > 0).double()
        if self.flaw == "sharper":
            values = values**2
        share = values / values.sum(dim=1, keepdim=True)
        point = torch.rand(len(probs), 1, generator=self.rng, dtype=torch.float64)
        if self.flaw == "same number":
            point = torch.full_like(point, 0.37)
        rank = (share.cumsum(dim=1) <= point).sum(dim=1, keepdim=True)
        return tokens.gather(1, rank.clamp(max=tokens.shape[1] - 1))[:, 0]

    def _filter(self, values: torch.Tensor, x: dict[str, torch.Tensor]) -> torch.Tensor:
        rank = torch.arange(values.shape[1])
        if "top_k" in x and self.flaw != "no top_k":
            most = x["top_k"][:, None] + (self.flaw == "one too many")
            values = values.masked_fill(rank >= most, 0.0)
        if "top_p" in x and self.flaw != "no top_p":
            values = values / values.sum(dim=1, keepdim=True)
            reached = values.cumsum(dim=1)
            before = reached if self.flaw == "crossing token left out" else reached - values
            values = values.masked_fill((before >= x["top_p"][:, None]) & (rank > 0), 0.0)
        return values


SAMPLER_FLAWS = ("one row for all", "greedy", "even", "sharper", "same number")
FILTER_FLAWS = {
    "top_k": ("no top_k", "one too many"),
    "top_p": ("no top_p", "crossing token left out"),
    "top_k_top_p": ("no top_k", "no top_p"),
}


@dataclass(frozen=True)
class Indexer:
    """The indices of highest score, in any order, right unless a flaw is set."""

    definition: Definition
    shorter: int = 0  # tokens at the end that are not seen
    skipped: bool = False  # the first token
    lost_page: bool = False  # the last one
    no_relu: bool = False
    no_weights: bool = False
    no_scales: bool = False
    packed: bool = False  # keys and scales taken to alternate token by token
    fewer_heads: int = 0
    in_order: bool = False  # the first tokens, whatever they score
    places: bool = False  # places in the request instead of slots
    repeated: bool = False
    short: bool = False  # the last index is padding

    def __call__(self, *arguments: Any) -> torch.Tensor:
        """[requests, k]."""
        x = dict(zip(self.definition.inputs, arguments, strict=True))
        count, size = self.definition.const_axes["topk"], self.definition.const_axes["page_size"]
        result = torch.full((len(x["seq_lens"]), count), -1, dtype=torch.int32)
        for row, length in enumerate(x["seq_lens"].tolist()):
            place = torch.arange(length)
            slot = x["block_table"][row].long()[place // size] * size + place % size
            score = self._scores(x, row, slot)
            best = self._rank(score, length, size)[: min(count, length)]
            chosen = place[best] if self.places else slot[best]
            if self.repeated and len(chosen) > 1:
                chosen[-1] = chosen[0]
            result[row, : len(chosen)] = chosen.flip(0).to(torch.int32)
            if self.short and len(chosen):
                result[row, len(chosen) - 1] = -1
        return result

    def _rank(self, score: torch.Tensor, length: int, size: int) -> torch.Tensor:
        score = score.clone()
        if self.shorter or self.lost_page:
            last = (length - 1) // size * size if self.lost_page else length - self.shorter
            score[last:] = -1e30
        if self.skipped:
            score[:1] = -1e30
        if self.in_order:
            score = -torch.arange(length).float()
        return score.argsort(descending=True)

    def _scores(self, x: dict[str, Any], row: int, slot: torch.Tensor) -> torch.Tensor:
        cache, dim = x["k_index_cache_fp8"], x["q_index_fp8"].shape[2]
        raw, size = cache.flatten(1).view(torch.uint8), cache.shape[1]
        if self.packed:
            tokens = cache.flatten(0, 2).view(torch.uint8)
            keys, scales = tokens[:, :dim], tokens[:, dim:].contiguous().view(torch.float32)[:, 0]
        else:
            keys = raw[:, : size * dim].reshape(-1, dim)
            scales = raw[:, size * dim :].contiguous().view(torch.float32).flatten()
        keys = keys[slot].contiguous().view(torch.float8_e4m3fn).float()
        heads = x["q_index_fp8"][row].float() @ keys.T
        heads = heads if self.no_relu else heads.relu()
        weights = x["weights"][row] * (0.0 if self.no_weights else 1.0) + float(self.no_weights)
        total = (heads * weights[:, None])[self.fewer_heads :].sum(dim=0)
        return total if self.no_scales else total * scales[slot].nan_to_num(0.0)


INDEXER_FLAWS: dict[str, dict[str, Any]] = {
    "last token not seen": {"shorter": 1},
    "first token not seen": {"skipped": True},
    "last page not seen": {"lost_page": True},
    "no relu": {"no_relu": True},
    "no weights": {"no_weights": True},
    "no scales": {"no_scales": True},
    "scales beside each key": {"packed": True},
    "a head left out": {"fewer_heads": 1},
    "first tokens": {"in_order": True},
    "places for slots": {"places": True},
    "an index twice": {"repeated": True},
    "an index missing": {"short": True},
}
