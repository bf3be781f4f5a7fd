"""Small definitions of every op family, and mistakes that a reference might have."""

from __future__ import annotations

from dataclasses import dataclass

from kernelkit.dataset.definition import Definition
from kernelkit.ops import family
from kernelkit.ops.moe.forms import BF16, FP4, FP4_ROUTED, FP8_BLOCK, FP8_TENSOR

EXPERTS = dict(num_experts=16, num_local_experts=8, hidden_size=256, intermediate_size=256)


def _all() -> dict[str, Definition]:
    norm, gemm, rope = family("rmsnorm"), family("gemm"), family("rope")
    paged, ragged, latent = family("gqa_paged"), family("gqa_ragged"), family("mla_paged")
    dsa, gdn, moe, sampling = family("dsa_paged"), family("gdn"), family("moe"), family("sampling")
    made = [
        norm.definition(512, 1e-5),
        norm.definition(512, 1e-6, gemma=True),
        norm.definition(256, 1e-5, fused=True),
        norm.definition(256, 1e-6, fused=True, gemma=True),
        gemm.definition(96, 512),
        rope.definition(128, 64),
        rope.definition(64, 32, neox=False),
        *(paged.definition(8, 2, 64, page, prefill=pre) for page in (1, 64) for pre in (0, 1)),
        ragged.definition(8, 2, 64),
        *(latent.definition(4, 128, 64, page, prefill=pre) for page in (1, 64) for pre in (0, 1)),
        family("mla_ragged").definition(4, 192, 128),
        dsa.sparse(4, 128, 64, 32, 16),
        dsa.indexer(8, 128, 256),
        *(gdn.definition(2, 4, 128, stage=stage) for stage in ("decode", "mtp", "prefill")),
        family("mamba_ssu").definition(8, 16, 32, 2),
        family("mamba_ssu").definition(4, 16, 32, 2, state_dtype="float32"),
        *(sampling.definition(kind, 500) for kind in ("top_k", "top_p", "top_k_top_p")),
        moe.definition(FP8_BLOCK, "ds", top_k=4, n_group=4, topk_group=2, **EXPERTS),
        *(moe.definition(FP8_BLOCK, name, top_k=4, **EXPERTS)
          for name in ("renorm", "default", "renorm_naive", "topk")),
        moe.definition(FP8_BLOCK, "llama4", top_k=1, **EXPERTS),
        moe.definition(FP8_TENSOR, "renorm", top_k=4, **EXPERTS),
        moe.definition(FP8_TENSOR, "llama4", top_k=1, **EXPERTS),
        moe.definition(FP4, "renorm", top_k=4, **EXPERTS),
        moe.definition(FP4, "llama4", top_k=1, **EXPERTS),
        moe.definition(FP4_ROUTED, None, top_k=4, **EXPERTS),
        moe.definition(BF16, None, top_k=4, **{**EXPERTS, "num_local_experts": 16}),
    ]  # fmt: skip
    return {definition.name: definition for definition in made}


DEFINITIONS = _all()


@dataclass(frozen=True)
class Mistake:
    """One wrong line: in the reference of the first definition whose name starts so."""

    definition: str
    what: str
    right: str
    wrong: str

    def planted(self) -> Definition:
        """The definition with the mistake, under a name of its own."""
        found = next(d for name, d in DEFINITIONS.items() if name.startswith(self.definition))
        assert self.right in found.reference, (found.name, self.right)
        text = found.reference.replace(self.right, self.wrong)
        name = f"{found.name}_{self.what.replace(' ', '_')}"
        return found.model_copy(update={"name": name, "reference": text})


NATURAL = "lse in base e", " / math.log(2.0)", ""
LAST_PAGE = "last page full", "kv_last_page_len.long()", "page_size"
LATER = "mask one too far", "(i + kv_len - q_len)", "(i + kv_len - q_len + 1)"
EARLIER = "mask one too short", "(i + kv_len - q_len)", "(i + kv_len - q_len - 1)"
TOP_LEFT = "mask top left", "(i + kv_len - q_len)", "(i + 0 * kv_len)"
SWAPPED = "gate and up swapped", "up, gate = ", "gate, up = "
OFFSET = "offset ignored", "int(local_expert_offset)", "0"
PAGED = ("gqa_paged_decode_h8_kv2_d64_ps64", "gqa_paged_prefill_causal_h8_kv2_d64_ps64",
         "mla_paged_decode_h4_ckv128_kpe64_ps64",
         "mla_paged_prefill_causal_h4_ckv128_kpe64_ps64")  # fmt: skip
ONE_TOKEN = tuple(name.replace("ps64", "ps1") for name in PAGED)
RAGGED = ("gqa_ragged", "mla_ragged")
PREFILL = tuple(name for name in (*PAGED, *ONE_TOKEN, *RAGGED) if "decode" not in name)

MISTAKES = [
    *(Mistake(name, *NATURAL) for name in (*PAGED, *ONE_TOKEN, *RAGGED, "dsa_sparse")),
    *(Mistake(name, *LAST_PAGE) for name in PAGED),
    *(Mistake(name, *mask) for name in PREFILL for mask in (LATER, EARLIER, TOP_LEFT)),
    *(Mistake(name, "scale after absorption", " * sm_scale", " * sm_scale * (192 / 576) ** 0.5")
      for name in (PAGED[2], ONE_TOKEN[2], "dsa_sparse")),
    *(Mistake(name, "scale ignored", "mul_(sm_scale)", "mul_(1.0)") for name in PREFILL),
    Mistake(PAGED[0], "scale ignored", " * sm_scale", ""),
    Mistake("dsa_sparse", "padding seen", "valid = sparse_indices[part] >= 0",
            "valid = sparse_indices[part] >= -1"),
    Mistake("dsa_topk", "no relu", "torch.relu", "torch.abs"),
    Mistake("dsa_topk", "key scales ignored", " * scales[page][..., None]", ""),
    Mistake("dsa_topk", "lengths ignored", "position < seq_lens[part, None]",
            "position < 0 * seq_lens[part, None] + width"),
    *(Mistake(name, *SWAPPED) for name in ("moe_fp8_block_scale_ds", "moe_fp8_block_scale_renorm_t",
      "trtllm_fp8", "trtllm_fp4_block_scale_moe", "trtllm_fp4_block_scale_routed",
      "cutlass_fused_moe")),
    Mistake("cutlass_fused_moe", "weights ignored",
            "y * token_final_scales[tokens, places, None]", "y / 4"),
    *(Mistake(name, *OFFSET) for name in ("moe_fp8_block_scale_ds", "trtllm_fp8",
      "trtllm_fp4_block_scale_routed")),
    Mistake("moe_fp8_block_scale_ds", "bias in weights", "weights = scores.gather",
            "weights = biased.gather"),
    Mistake("moe_fp8_block_scale_ds", "factor ignored", "* factor", "* 1.0"),
    Mistake("moe_fp8_block_scale_ds", "groups ignored", "masked_fill(~kept[:, :, None], lowest)",
            "masked_fill(kept[:, :, None] & False, lowest)"),
    Mistake("moe_fp8_block_scale_renorm_t", "softmax over all", "torch.softmax(values, dim=1)",
            "torch.softmax(logits, dim=1).gather(1, chosen)"),
    Mistake("moe_fp8_block_scale_renorm_t", "scale of activations ignored",
            "hidden_states_scale.T.repeat_interleave(BLOCK, dim=1)", "hidden_states_scale.mean()"),
    Mistake("trtllm_fp8", "scales swapped", "gate * output1_scales_gate_scalar",
            "gate * output1_scales_scalar"),
    Mistake("rmsnorm_h512", "epsilon outside the root",
            "torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPS)",
            "1.0 / (x.square().mean(dim=-1, keepdim=True).sqrt() + EPS)"),
    Mistake("gemma_rmsnorm_h512", "weight without one", "(1.0 + ", "(0.0 + "),
    Mistake("fused_add_rmsnorm_h256", "no residual", "residual.to", "0 * residual.to"),
    Mistake("gemm_n", "last products missing", "torch.matmul(A, B.T)",
            "torch.matmul(A[:, :-4], B.T[:-4])"),
    Mistake("rope_with_cos_sin_cache_neox", "other pairs", "NEOX = True", "NEOX = False"),
    Mistake("rope_with_cos_sin_cache_gptj", "other way round", "first * cos - second * sin",
            "first * cos + second * sin"),
    Mistake("gdn_decode", "no decay", "state = state * decay[..., None, None]", "state = state"),
    Mistake("gdn_decode", "scale ignored", "(out * scale)", "out"),
    Mistake("gdn_mtp", "beta raw", "torch.sigmoid(b.to(torch.float32))", "b.to(torch.float32)"),
    Mistake("gdn_prefill", "bias ignored", "+ dt_bias.to(torch.float32)", ""),
    Mistake("gdn_prefill", "old values kept", "(v - old_v)", "v"),
    Mistake("mamba_ssu_decode_h8", "no skip", "+ x32 * D.to(torch.float32)", ""),
    Mistake("mamba_ssu_decode_h4", "old state lost", "old * torch.exp", "0 * old * torch.exp"),
    Mistake("top_p_sampling", "crossing token dropped", "before = values.cumsum(dim=1) - values",
            "before = values.cumsum(dim=1)"),
    Mistake("top_k_sampling", "one more", "rank >= limit", "rank > limit"),
    Mistake("top_k_top_p", "top-p ignored", "(before >= p)", "(before >= 2 * p + 9)"),
    Mistake("top_p_sampling", "always the likeliest", "torch.multinomial(values, 1)",
            "values.argmax(dim=1, keepdim=True)"),
]  # fmt: skip
