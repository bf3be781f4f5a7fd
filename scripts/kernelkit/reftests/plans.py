"""The plan of each op family: inputs, ground truths, sizes.

FlashInfer comes first, SGLang's or DeepGEMM's kernels where FlashInfer has none for sm_90, PyTorch
for matrix products; and always an independent PyTorch computation that runs on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable

from kernelkit.dataset.definition import Definition
from kernelkit.errors import UsageError
from kernelkit.ops import rmsnorm
from kernelkit.reftests import plans_moe
from kernelkit.reftests.plan import Axes, NoPlanError, Plan, Truth, torch_truth

HOPPER = 90  # compute capability: GDN kernels exist from there on
SMALL_N = 512  # columns of a GEMM on the small size
SMALL_VOCABULARY = 300


def plan_of(definition: Definition) -> Plan:
    """The plan of a definition. Raises NoPlanError for an unknown op type or interface."""
    if definition.op_type not in PLANS:
        raise NoPlanError(
            f"{definition.name}: no ground truth is known for this op type",
            received=definition.op_type,
            allowed=", ".join(PLANS),
        )
    try:
        return PLANS[definition.op_type](definition)
    except (KeyError, IndexError, ValueError, StopIteration, UsageError) as error:
        raise NoPlanError(
            f"{definition.name}: not the interface of a {definition.op_type} definition",
            received=error,
            next_step="hold it against the definitions that derive_definitions.py writes",
        ) from error


def _rmsnorm(definition: Definition) -> Plan:
    kind = next(k for k in _NORMS if definition.name.startswith(f"{k}_h"))
    eps = rmsnorm.read_eps(definition.reference)
    if eps is None:
        raise ValueError("the reference shows no epsilon")
    torch_kind = "torch_gemma_rmsnorm" if kind.startswith("gemma") else "torch_rmsnorm"
    return Plan(
        inputs=("pointwise_inputs", "rmsnorm_inputs"),
        truths=(
            _flashinfer("pointwise_truth", f"flashinfer_{kind}"),
            torch_truth("pointwise_truth", torch_kind),
        ),
        sizes=_sizes({"batch_size": 7}, {"batch_size": 333}, {"batch_size": 8192}),
        constants={"EPS": eps},
    )


_NORMS = ("gemma_fused_add_rmsnorm", "gemma_rmsnorm", "fused_add_rmsnorm", "rmsnorm")


def _gemm(definition: Definition) -> Plan:
    columns = definition.const_axes["N"]
    return Plan(
        inputs=("pointwise_inputs", "gemm_inputs"),
        truths=(Truth("torch", "pointwise_truth", "torch_gemm"),),
        sizes=_sizes({"M": 7}, {"M": 129}, {"M": 4096}),
        reduced={"N": SMALL_N} if columns > SMALL_N else {},
    )


def _rope(definition: Definition) -> Plan:
    def axes(tokens: int, heads: int) -> Axes:
        return {"num_tokens": tokens, "num_qo_heads": heads, "num_kv_heads": max(1, heads // 4),
                "max_seq_len": 4096}  # fmt: skip

    return Plan(
        inputs=("pointwise_inputs", "rope_inputs"),
        truths=(
            _flashinfer("pointwise_truth", "flashinfer_rope"),
            torch_truth("pointwise_truth", "torch_rope"),
        ),
        sizes=_sizes(axes(9, 4), axes(257, 16), axes(4096, 32)),
        constants={"NEOX": "gptj" not in definition.name},
    )


def _sampling(definition: Definition) -> Plan:
    vocabulary = definition.const_axes["vocab_size"]
    return Plan(
        inputs=("pointwise_inputs", "sampling_inputs"),
        truths=(
            _flashinfer("sampling_truth", "flashinfer_distribution"),
            torch_truth("sampling_truth", "torch_distribution"),
        ),
        sizes=_sizes({"batch_size": 4000}, {"batch_size": 2000}, {"batch_size": 8000}),
        mode="samples",
        reduced={"vocab_size": SMALL_VOCABULARY} if vocabulary > SMALL_VOCABULARY else {},
    )


def _paged(definition: Definition) -> Plan:
    latent, prefill = "ckv_cache" in definition.inputs, "total_q" in definition.axes
    kind = "latent" if latent else "paged_prefill" if prefill else "paged_decode"
    size = definition.const_axes["page_size"]
    requests = ((4, 29, 40), (8, 300, 900), (16, 2048, 16384))
    if not prefill:
        requests = ((5, 5, 90), (64, 64, 9000), (128, 128, 200_000))
    made = [_paged_axes(definition, size, *one) for one in requests]
    return Plan(
        inputs=("attention_inputs", "mla_paged_inputs" if latent else "gqa_paged_inputs"),
        truths=(
            _flashinfer("attention_truth", f"flashinfer_{kind}"),
            torch_truth("attention_truth", "torch_latent" if latent else "torch_paged"),
        ),
        sizes=_sizes(*made),
    )


def _paged_axes(
    definition: Definition, page_size: int, requests: int, queries: int, tokens: int
) -> Axes:
    """The variable axes: at least two pages a request, so that there are full and other ones."""
    pages = max(-(-tokens // page_size), 2 * requests) + requests
    axes = {
        "batch_size": requests,
        "len_indptr": requests + 1,
        "num_kv_indices": pages,
        "num_pages": pages + 3,
        "total_q": queries,
        "total_kv": tokens,
    }
    return {name: axes[name] for name in definition.var_axes}


def _ragged(definition: Definition) -> Plan:
    made = [
        {"len_indptr": requests + 1, "total_q": queries, "total_kv": keys}
        for requests, queries, keys in ((4, 29, 61), (8, 300, 700), (16, 4096, 8192))
    ]
    return Plan(
        inputs=("attention_inputs", "ragged_inputs"),
        truths=(
            _flashinfer("attention_truth", "flashinfer_ragged"),
            torch_truth("attention_truth", "torch_ragged"),
        ),
        sizes=_sizes(*made),
    )


def _dsa(definition: Definition) -> Plan:
    topk, page = (definition.const_axes[name] for name in ("topk", "page_size"))
    pages = -(-topk // page) + 2
    if "sparse_indices" in definition.inputs:
        made = [{"num_tokens": n, "num_pages": pages * k} for n, k in ((3, 1), (33, 2), (256, 8))]
        return Plan(
            inputs=("attention_inputs", "dsa_sparse_inputs"),
            truths=(
                _flashinfer("attention_truth", "flashinfer_sparse"),
                torch_truth("attention_truth", "torch_sparse"),
            ),
            sizes=_sizes(*made),
        )
    made = [
        {"batch_size": n, "max_num_pages": pages * k, "num_pages": pages * k * n + 3}
        for n, k in ((2, 1), (8, 2), (32, 8))
    ]
    return Plan(
        inputs=("attention_inputs", "dsa_indexer_inputs"),
        truths=(
            Truth("deep_gemm", "indexer_truth", "deep_gemm_scores", "deep_gemm", HOPPER),
            torch_truth("indexer_truth", "torch_scores"),
        ),
        sizes=_sizes(*made),
        mode="topk",
    )


def _gdn(definition: Definition) -> Plan:
    stage = definition.name.split("_")[1]
    made = {
        "decode": [{"batch_size": n} for n in (3, 33, 256)],
        "mtp": [
            {"batch_size": n, "seq_len": t, "pool_size": n + 2}
            for n, t in ((2, 3), (8, 4), (64, 4))
        ],
        "prefill": [
            {"total_seq_len": t, "num_seqs": n, "len_cu_seqlens": n + 1}
            for n, t in ((3, 150), (4, 700), (8, 8192))
        ],
    }[stage]
    return Plan(
        inputs=("recurrent_inputs", "gdn_inputs"),
        truths=(
            _flashinfer("recurrent_truth", f"flashinfer_gdn_{stage}", HOPPER),
            Truth("fla", "recurrent_truth", f"fla_gdn_{stage}", "fla"),
            torch_truth("recurrent_truth", f"torch_gdn_{stage}"),
        ),
        sizes=_sizes(*made),
    )


def _mamba(definition: Definition) -> Plan:
    made = [{"batch_size": n, "state_cache_size": n + 2} for n in (2, 9, 128)]
    return Plan(
        inputs=("recurrent_inputs", "mamba_inputs"),
        truths=(
            _flashinfer("recurrent_truth", "flashinfer_mamba"),
            torch_truth("recurrent_truth", "torch_mamba"),
        ),
        sizes=_sizes(*made),
    )


def _flashinfer(part: str, function: str, capability: int = 0) -> Truth:
    return Truth("flashinfer", part, function, "flashinfer", capability)


def _sizes(small: Axes, medium: Axes, large: Axes) -> dict[str, Axes]:
    return {"small": small, "medium": medium, "large": large}


PLANS: dict[str, Callable[[Definition], Plan]] = {
    "rmsnorm": _rmsnorm,
    "gemm": _gemm,
    "gqa_paged": _paged,
    "gqa_ragged": _ragged,
    "mla_paged": _paged,
    "mla_ragged": _ragged,
    "dsa_paged": _dsa,
    "gdn": _gdn,
    "mamba_ssu": _mamba,
    "moe": plans_moe.plan,
    "rope": _rope,
    "sampling": _sampling,
}
