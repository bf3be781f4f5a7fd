"""On a CUDA device: FlashInfer's, FLA's and torch's kernels pass what refuses the mutants.

FlashInfer leaves rows without keys as they are, or gives them a finite log-sum-exp: what a wrapper
of it must set right is set here. Its kernels are compiled at first use, which takes minutes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from mutants.attention import Attention, kinds  # noqa: E402
from mutants.experts import Experts  # noqa: E402
from mutants.trials import outputs, run_of, trial  # noqa: E402

from kernelkit.bench.judge import rules  # noqa: E402
from kernelkit.bench.judge.compare import compare  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.ops.base import Tolerance, generator  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]

WORKSPACE_BYTES = 256 << 20
MOST_SECONDS = 0.02  # to compare 33 million elements
Case = tuple[Definition, dict[str, int]]


def _cases() -> dict[str, Case]:
    """Sizes of real calls."""
    found: dict[str, Case] = {}
    for name, (definition, _, axes) in kinds().items():
        found[name] = definition, axes
    moe = family("moe").definition(
        "fp8_block", "ds", num_experts=32, top_k=8, hidden_size=512, intermediate_size=256,
        n_group=4, topk_group=2,
    )  # fmt: skip
    prefill = {"total_seq_len": 2048, "num_seqs": 3, "len_cu_seqlens": 4}
    return {
        **found,
        "gemm": (family("gemm").definition(4096, 14336), {"M": 64}),
        "rmsnorm": (family("rmsnorm").definition(4096, 1e-6), {"batch_size": 512}),
        "gdn_decode": (family("gdn").definition(4, 8, 128, stage="decode"), {"batch_size": 64}),
        "gdn_prefill": (family("gdn").definition(4, 8, 128, stage="prefill"), prefill),
        "moe": (moe, {"seq_len": 256}),
    }


CASES = _cases()


def _on_cuda(inputs: dict[str, Any]) -> dict[str, Any]:
    return {n: v.cuda() if isinstance(v, torch.Tensor) else v for n, v in inputs.items()}


def _assert_passes(case: Case, kernel: Callable[..., Any]) -> None:
    definition, axes = case
    tolerance = rules.tolerance(definition)
    failed = []
    for call in trial(definition, axes):
        inputs, want = _on_cuda(call.inputs), _on_cuda(call.want)
        verdict = rules.judge(
            definition, outputs(definition, kernel, inputs), want, inputs, tolerance
        )
        if verdict.status is not Status.PASSED:
            failed.append(f"{call.what}: {verdict.message}")
    assert not failed, failed


@pytest.mark.parametrize("name", CASES)
def test_torch_on_the_device_passes(name: str) -> None:
    """The reference, with the device's order of summation."""
    _assert_passes(CASES[name], run_of(CASES[name][0].reference))


@pytest.mark.parametrize("name", CASES)
def test_contents_do_not_depend_on_the_device(name: str) -> None:
    definition, axes = CASES[name]
    op = family(definition.op_type)
    inputs = op.make_inputs(definition, axes, seed=1)
    here, there = (
        [op.vary(definition, x, rng), *(found for _, found in op.probes(definition, x, rng))]
        for x, rng in ((inputs, generator(1, "x")), (_on_cuda(inputs), generator(1, "x")))
    )
    for mine, theirs in zip(here, there, strict=True):
        for key, value in mine.items():
            if isinstance(value, torch.Tensor):
                close = torch.isclose(value.float(), theirs[key].cpu().float(), rtol=1e-2)
                assert close.all(), key


def test_wrong_kernels_are_refused_on_the_device() -> None:
    definition, axes = CASES["gqa_decode_ps1"]
    wrong = Attention(definition, dropped=lambda n: n - 1)
    tolerance, found = rules.tolerance(definition), []
    for call in trial(definition, axes):
        got = _on_cuda(outputs(definition, wrong, call.inputs))
        inputs, want = _on_cuda(call.inputs), _on_cuda(call.want)
        if rules.judge(definition, got, want, inputs, tolerance).status is not Status.PASSED:
            found.append(call.what)
    assert "coverage" in found


def test_low_bits_pass_on_the_device() -> None:
    definition, axes = CASES["moe"]
    kernel = Experts(definition, low_bits=True)
    tolerance = rules.tolerance(definition)
    for call in trial(definition, axes):
        got = _on_cuda(outputs(definition, kernel, call.inputs))
        verdict = rules.judge(
            definition, got, _on_cuda(call.want), _on_cuda(call.inputs), tolerance
        )
        assert verdict.status is Status.PASSED, (call.what, verdict.message)


def test_comparing_is_fast() -> None:
    want = {"o": torch.randn(1024, 32768, device="cuda")}
    got = {"o": want["o"] * 1.001}
    strict = Tolerance(1e-2, 1e-2, row_error=0.01, gain_error=0.01)
    assert compare(got, want, strict).status is Status.PASSED
    torch.cuda.synchronize()
    start = time.perf_counter()
    compare(got, want, strict)
    assert time.perf_counter() - start < MOST_SECONDS


def _lengths(inputs: dict[str, Any], size: int) -> torch.Tensor:
    pages = torch.diff(inputs["kv_indptr"])
    if "kv_last_page_len" not in inputs:
        return pages
    return ((pages - 1) * size + inputs["kv_last_page_len"]).where(pages > 0, 0)


def _without_keys(inputs: dict[str, Any], lengths: torch.Tensor) -> torch.Tensor:
    """[rows]: queries that see no key."""
    if "qo_indptr" not in inputs:
        return lengths == 0
    rows = torch.diff(inputs["qo_indptr"])
    request = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), rows)
    place = torch.arange(len(request), device=rows.device) - inputs["qo_indptr"][request]
    return place + (lengths - rows)[request] < 0


def _flashinfer(definition: Definition) -> Callable[..., Any]:
    """FlashInfer's wrapper for an attention definition, planned at every call."""
    import flashinfer

    sizes = definition.const_axes
    workspace = torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")
    kinds_of = {"q_data_type": torch.bfloat16, "kv_data_type": torch.bfloat16}
    heads = sizes["num_qo_heads"], sizes.get("num_kv_heads", 1)

    def attend(x: dict[str, Any], lengths: torch.Tensor) -> Any:
        size = sizes.get("page_size", 1)
        last = x.get("kv_last_page_len", (lengths > 0).int())
        if "q_nope" in x:
            wrapper = flashinfer.mla.BatchMLAPagedAttentionWrapper(workspace)
            rows = torch.arange(len(lengths) + 1, dtype=torch.int32, device="cuda")
            wrapper.plan(
                x.get("qo_indptr", rows), x["kv_indptr"], x["kv_indices"], lengths.int(),
                heads[0], sizes["head_dim_ckv"], sizes["head_dim_kpe"], size, "qo_indptr" in x,
                x["sm_scale"], torch.bfloat16, torch.bfloat16,
            )  # fmt: skip
            names = ("q_nope", "q_pe", "ckv_cache", "kpe_cache")
            return wrapper.run(*(x[name] for name in names), return_lse=True)
        if "k" in x:
            wrapper = flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper(workspace, "NHD")
            wrapper.plan(
                x["qo_indptr"], x["kv_indptr"], *heads, x["q"].shape[2], causal=True,
                head_dim_vo=x["v"].shape[2], sm_scale=x["sm_scale"], **kinds_of,
            )  # fmt: skip
            return wrapper.run(x["q"], x["k"], x["v"], return_lse=True)
        cache = (x["k_cache"], x["v_cache"])
        if "qo_indptr" in x:
            wrapper = flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper(workspace, "NHD")
            wrapper.plan(
                x["qo_indptr"], x["kv_indptr"], x["kv_indices"], last, *heads,
                sizes["head_dim"], size, causal=True, sm_scale=x["sm_scale"], **kinds_of,
            )  # fmt: skip
        else:
            wrapper = flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper(workspace, "NHD")
            wrapper.plan(
                x["kv_indptr"], x["kv_indices"], last, *heads, sizes["head_dim"], size,
                sm_scale=x["sm_scale"], **kinds_of,
            )  # fmt: skip
        return wrapper.run(x["q"], cache, return_lse=True)

    def run(*arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        x = dict(zip(definition.inputs, arguments, strict=True))
        lengths = _lengths(x, sizes.get("page_size", 1))
        output, lse = attend(x, lengths)
        empty = _without_keys(x, lengths)
        output[empty], lse[empty] = 0.0, -torch.inf
        return output, lse

    return run


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("name", ["gqa_decode_ps1", "gqa_prefill_ps16", "gqa_ragged"])
def test_flashinfer_attention_passes(name: str, size: str) -> None:
    pytest.importorskip("flashinfer", exc_type=ImportError)
    definition, small, large = kinds()[name]
    _assert_passes((definition, small if size == "small" else large), _flashinfer(definition))


def test_flashinfer_mla_passes() -> None:
    pytest.importorskip("flashinfer", exc_type=ImportError)
    definition = family("mla_paged").definition(16, 512, 64, 1, prefill=False)
    axes = {"batch_size": 2, "len_indptr": 3, "num_pages": 9000, "num_kv_indices": 8192}
    _assert_passes((definition, axes), _flashinfer(definition))


def test_flashinfer_rmsnorm_passes() -> None:
    flashinfer = pytest.importorskip("flashinfer", exc_type=ImportError)
    _assert_passes(CASES["rmsnorm"], lambda x, w: flashinfer.norm.rmsnorm(x, w, eps=1e-6))


def test_fla_prefill_passes() -> None:
    fla = pytest.importorskip("fla.ops.gated_delta_rule", exc_type=ImportError)

    def run(q, k, v, state, A_log, a, dt_bias, b, cu_seqlens, scale):  # noqa: ANN001, ANN202
        output, new_state = fla.chunk_gated_delta_rule(
            q[None], k[None], v[None], a[None], torch.sigmoid(b.float())[None], scale=scale,
            initial_state=state, output_final_state=True, cu_seqlens=cu_seqlens,
            use_gate_in_kernel=True, A_log=A_log, dt_bias=dt_bias, transpose_state_layout=True,
        )  # fmt: skip
        return output[0], new_state

    _assert_passes(CASES["gdn_prefill"], run)
