"""Ground truth of sampling: the distribution that tokens are drawn from, [rows, vocabulary]."""

from __future__ import annotations

import torch

Tensors = dict[str, torch.Tensor]


def torch_distribution(inputs: Tensors) -> torch.Tensor:
    """Row by row in float64: down the sorted tokens, k of them, no further than p is reached."""
    kept = torch.zeros_like(inputs["probs"], dtype=torch.float64)
    vocab = kept.shape[1]
    for row, probs in enumerate(inputs["probs"].double()):
        k = int(inputs["top_k"][row]) if "top_k" in inputs else vocab
        p = float(inputs["top_p"][row]) if "top_p" in inputs else 1.0
        tokens = probs.sort(descending=True, stable=True).indices
        tokens = tokens[:k] if 0 < k <= vocab else tokens
        mass = probs[tokens] / probs[tokens].sum()
        reached = int((mass.cumsum(0) < p).sum()) + 1 if p < 1.0 else len(tokens)
        kept[row, tokens[:reached]] = mass[:reached]
    return kept / kept.sum(dim=1, keepdim=True)


def flashinfer_distribution(inputs: Tensors) -> torch.Tensor:
    """flashinfer.sampling.top_k_renorm_probs, then top_p_renorm_probs, where the op has them."""
    import flashinfer

    probs = inputs["probs"]
    if "top_k" in inputs:
        probs = flashinfer.sampling.top_k_renorm_probs(probs, inputs["top_k"])
    if "top_p" in inputs:
        probs = flashinfer.sampling.top_p_renorm_probs(probs, inputs["top_p"])
    return probs.double()
