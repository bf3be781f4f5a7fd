"""The definitions that the templates are written for; imported without torch, too."""

from __future__ import annotations

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family


def definitions() -> dict[str, Definition]:
    """The definitions that templates are written for, by name."""
    norm = family("rmsnorm").definition
    moe, small = family("moe").definition, {"hidden_size": 2048, "intermediate_size": 768}
    scout = {"hidden_size": 5120, "intermediate_size": 8192}
    known = [
        *(
            moe(kind, "renorm", num_experts=128, num_local_experts=local, top_k=8, **small)
            for kind in ("fp8_block", "fp8_per_tensor")
            for local in (128, 16)
        ),
        *(
            moe("fp8_per_tensor", "llama4", num_experts=16, num_local_experts=n, top_k=1, **scout)
            for n in (16, 2)
        ),
        moe("bf16", None, num_experts=128, top_k=8, **small),
        *(family("gdn").definition(4, 8, 128, stage=s) for s in ("decode", "mtp", "prefill")),
        family("mamba_ssu").definition(64, 64, 128, 1),
        family("dsa_paged").sparse(16, 512, 64, 2048, 64),
        family("dsa_paged").indexer(64, 128, 2048),
        family("gqa_ragged").definition(32, 8, 128),
        moe(
            "fp8_block", "ds", num_experts=256, num_local_experts=32, top_k=8, n_group=8,
            topk_group=4, hidden_size=7168, intermediate_size=2048,
        ),
        *(family("gqa_paged").definition(32, 8, 128, size, prefill=True) for size in (1, 64)),
        family("mla_paged").definition(16, 512, 64, 1, prefill=False),
        family("mla_paged").definition(16, 512, 64, 64, prefill=False),
        *(family("gqa_paged").definition(32, 8, 128, size, prefill=False) for size in (1, 64)),
        *(
            family("sampling").definition(kind, 128256)
            for kind in ("top_k", "top_p", "top_k_top_p")
        ),
        norm(4096, 1e-5),
        norm(4096, 1e-5, fused=True),
        family("gemm").definition(4096, 4096),
        family("rope").definition(128, 64),
    ]  # fmt: skip
    return {definition.name: definition for definition in known}
