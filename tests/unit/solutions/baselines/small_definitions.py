"""Definitions of every family and form, of sizes that a CPU runs in no time."""

from __future__ import annotations

from kernelkit import ops
from kernelkit.dataset.definition import Definition


def small_definitions() -> list[Definition]:
    """Definitions of every family and form, of sizes that a CPU runs in no time."""
    norm, gqa, mla = (ops.family(n).definition for n in ("rmsnorm", "gqa_paged", "mla_paged"))
    gdn, dsa = ops.family("gdn"), ops.family("dsa_paged")
    return [
        *(norm(48, 1e-4, fused=f, gemma=g) for f in (False, True) for g in (False, True)),
        ops.family("gemm").definition(24, 40),
        *(gqa(4, 2, 16, size, prefill=p) for size in (1, 4) for p in (False, True)),
        gqa(8, 1, 16, 1, prefill=False),
        ops.family("gqa_ragged").definition(4, 2, 16),
        *(mla(4, 32, 16, size, prefill=p) for size in (1, 4) for p in (False, True)),
        ops.family("mla_ragged").definition(4, 24, 16),
        *(dsa.sparse(4, 32, 16, 8, size) for size in (1, 4)),
        dsa.indexer(4, 32, 16),
        *(gdn.definition(2, 4, 16, stage=stage) for stage in ("decode", "mtp", "prefill")),
        ops.family("mamba_ssu").definition(4, 16, 16, 2),
        *moe_definitions(),
        *(ops.family("rope").definition(16, 8, neox=neox) for neox in (False, True)),
        *(ops.family("sampling").definition(k, 40) for k in ("top_k", "top_p", "top_k_top_p")),
    ]


def moe_definitions() -> list[Definition]:
    """Every kind and routing of experts, whole and as one rank of two."""
    from kernelkit.ops.moe.forms import ROUTINGS

    made = ops.family("moe").definition
    sizes = {"hidden_size": 128, "intermediate_size": 128, "num_experts": 8}
    found = []
    for kind, routings in ROUTINGS.items():
        for routing in routings:
            more = {"top_k": 1 if routing == "llama4" else 2}
            if routing == "ds":
                more |= {"n_group": 4, "topk_group": 2}
            found.append(made(kind, routing, **sizes, **more))
            if kind != "bf16":  # which one rank holds
                found.append(made(kind, routing, num_local_experts=4, **sizes, **more))
    return found
