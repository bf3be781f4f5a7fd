"""Whether indices name the cached tokens of highest score. Their order is free, so are ties."""

from __future__ import annotations

import torch

SLACK = 0.01  # of the spread of a request's scores: what another order of summation can move


def compare_indices(
    chosen: torch.Tensor, scores: torch.Tensor, slots: torch.Tensor
) -> dict[str, float]:
    """One request: chosen [topk] with -1 as padding, scores [width] with -inf where no token is,
    slots [width] of the cache by position. Raises AssertionError."""
    topk, present = len(chosen), scores.isfinite()
    chosen, count = chosen[chosen >= 0].long(), min(topk, int(present.sum()))
    assert len(chosen) == count, f"{len(chosen)} indices of {int(present.sum())} tokens"
    if not count:
        return {"overlap": 1.0}
    values, held = scores[present], slots[present]
    assert bool(torch.isin(chosen, held).all()), "an index is no slot of the request"
    assert len(chosen.unique()) == len(chosen), "an index occurs twice"
    cut = values.topk(count).values[-1]
    slack = SLACK * float(values.std()) if len(values) > 1 else 0.0
    taken = torch.isin(held, chosen)
    low, high = taken & (values < cut - slack), ~taken & (values > cut + slack)
    assert not bool(low.any()), f"{int(low.sum())} tokens score too low to be taken"
    assert not bool(high.any()), f"{int(high.sum())} tokens of higher score are left out"
    best = held[values.topk(count).indices]
    return {"overlap": float(torch.isin(chosen, best).double().mean())}
