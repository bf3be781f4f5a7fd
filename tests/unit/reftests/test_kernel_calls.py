"""How the kernels of libraries are called, without a GPU.

The libraries' entry points are replaced by stand-ins that bind the arguments to the real signature
and compute with PyTorch: so names of arguments, layouts and conventions are held to what the
installed version has, and what comes back to the independent ground truth.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
flashinfer = pytest.importorskip("flashinfer", exc_type=ImportError)

from samples import DEFINITIONS  # noqa: E402

from kernelkit.ops import family  # noqa: E402
from kernelkit.reftests.parts import (  # noqa: E402
    attention_truth,
    pointwise_truth,
    recurrent_truth,
)

pytestmark = pytest.mark.filterwarnings("ignore")

Inputs = dict[str, Any]


def inputs_of(name: str) -> Inputs:
    """The op's own inputs of the sample definition whose name starts so."""
    definition = next(d for known, d in DEFINITIONS.items() if known.startswith(name))
    op = family(definition.op_type)
    return op.make_inputs(definition, op.small_axes(definition), seed=5)


def agree(got: Inputs, want: Inputs) -> None:
    """The same within what bfloat16 inputs leave."""
    for name, value in got.items():
        torch.testing.assert_close(value.double(), want[name].double(), atol=2e-2, rtol=2e-2)


class Wrapper:
    """A stand-in of a wrapper class: `plan` and `run` take what the real ones take."""

    def __init__(self, real: type, compute: Callable[[Inputs, Inputs], Inputs]) -> None:
        self.real, self.compute, self.planned = real, compute, {}

    def __call__(self, *args: Any, **kwargs: Any) -> Wrapper:
        inspect.signature(self.real.__init__).bind(self, *args, **kwargs)
        return self

    def plan(self, *args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(self.real.plan).bind(self, *args, **kwargs).arguments
        self.planned = {**bound, **bound.get("kwargs", {})}

    def run(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        bound = inspect.signature(self.real.run).bind(self, *args, **kwargs).arguments
        assert bound.get("return_lse") or bound.get("kwargs", {}).get("return_lse")
        outputs = self.compute(self.planned, bound)
        return outputs["output"], outputs["lse"]


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scratch buffers on the CPU."""
    monkeypatch.setattr(attention_truth, "workspace", lambda: torch.zeros(8, dtype=torch.uint8))


def emptied(inputs: Inputs) -> Inputs:
    """Decode inputs whose middle request has no keys."""
    pointer = inputs["kv_indptr"].clone()
    pointer[1] = pointer[2]
    changed = {**inputs, "kv_indptr": pointer}
    if "kv_last_page_len" in inputs:
        last = inputs["kv_last_page_len"].clone()
        last[1] = 0
        changed["kv_last_page_len"] = last
    return changed


@pytest.mark.parametrize("page", [1, 64])
def test_paged_decode(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    def compute(plan: Inputs, run: Inputs) -> Inputs:
        k, v = run["paged_kv_cache"]
        assert plan["page_size"] == page and plan["num_kv_heads"] == k.shape[2]
        assert (plan["indptr"].diff() > 0).all(), "an empty request reaches the kernel"
        return attention_truth.torch_paged({
            "q": run["q"], "k_cache": k, "v_cache": v, "kv_indptr": plan["indptr"],
            "kv_indices": plan["indices"], "kv_last_page_len": plan["last_page_len"],
            "sm_scale": plan["sm_scale"],
        })  # fmt: skip

    real = flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper
    monkeypatch.setattr(
        flashinfer.decode, "BatchDecodeWithPagedKVCacheWrapper", Wrapper(real, compute)
    )
    inputs = emptied(inputs_of(f"gqa_paged_decode_h8_kv2_d64_ps{page}"))
    agree(attention_truth.flashinfer_paged_decode(inputs), attention_truth.torch_paged(inputs))


@pytest.mark.parametrize("page", [1, 64])
def test_paged_prefill(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    def compute(plan: Inputs, run: Inputs) -> Inputs:
        k, v = run["paged_kv_cache"]
        assert plan["causal"] is True and plan["page_size"] == page
        return attention_truth.torch_paged({
            "q": run["q"], "k_cache": k, "v_cache": v, "kv_indptr": plan["paged_kv_indptr"],
            "qo_indptr": plan["qo_indptr"], "kv_indices": plan["paged_kv_indices"],
            "kv_last_page_len": plan["paged_kv_last_page_len"], "sm_scale": plan["sm_scale"],
        })  # fmt: skip

    real = flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper
    monkeypatch.setattr(
        flashinfer.prefill, "BatchPrefillWithPagedKVCacheWrapper", Wrapper(real, compute)
    )
    inputs = inputs_of(f"gqa_paged_prefill_causal_h8_kv2_d64_ps{page}")
    agree(attention_truth.flashinfer_paged_prefill(inputs), attention_truth.torch_paged(inputs))


@pytest.mark.parametrize("name", ["gqa_ragged", "mla_ragged"])
def test_ragged(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def compute(plan: Inputs, run: Inputs) -> Inputs:
        assert plan["causal"] is True
        assert plan["head_dim_qk"] == run["q"].shape[2]
        assert plan["head_dim_vo"] == run["v"].shape[2]
        return attention_truth.torch_ragged({
            "q": run["q"], "k": run["k"], "v": run["v"], "qo_indptr": plan["qo_indptr"],
            "kv_indptr": plan["kv_indptr"], "sm_scale": plan["sm_scale"],
        })  # fmt: skip

    real = flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper
    monkeypatch.setattr(
        flashinfer.prefill, "BatchPrefillWithRaggedKVCacheWrapper", Wrapper(real, compute)
    )
    inputs = inputs_of(name)
    agree(attention_truth.flashinfer_ragged(inputs), attention_truth.torch_ragged(inputs))


def _latent(plan: Inputs, run: Inputs) -> Inputs:
    """From kv_len_arr, which counts tokens, not pages."""
    size, pages = run["ckv_cache"].shape[1], plan["kv_indptr"].diff()
    assert plan["causal"] is True and plan["page_size"] == size and (pages > 0).all()
    assert plan["kv_len_arr"].dtype == torch.int32
    return attention_truth.torch_latent({
        **{name: run[name] for name in ("q_nope", "q_pe", "ckv_cache", "kpe_cache")},
        "qo_indptr": plan["qo_indptr"], "kv_indptr": plan["kv_indptr"],
        "kv_indices": plan["kv_indices"], "sm_scale": plan["sm_scale"],
        "kv_last_page_len": plan["kv_len_arr"] - (pages - 1) * size,
    })  # fmt: skip


@pytest.mark.parametrize("page", [1, 64])
@pytest.mark.parametrize("stage", ["decode", "prefill_causal"])
def test_latent(monkeypatch: pytest.MonkeyPatch, stage: str, page: int) -> None:
    real = flashinfer.mla.BatchMLAPagedAttentionWrapper
    monkeypatch.setattr(flashinfer.mla, "BatchMLAPagedAttentionWrapper", Wrapper(real, _latent))
    inputs = inputs_of(f"mla_paged_{stage}_h4_ckv128_kpe64_ps{page}")
    inputs = emptied(inputs) if stage == "decode" else inputs
    agree(attention_truth.flashinfer_latent(inputs), attention_truth.torch_latent(inputs))


def test_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    real = flashinfer.mla.BatchMLAPagedAttentionWrapper
    monkeypatch.setattr(flashinfer.mla, "BatchMLAPagedAttentionWrapper", Wrapper(real, _latent))
    inputs = inputs_of("dsa_sparse")
    inputs["sparse_indices"][1] = -1
    agree(attention_truth.flashinfer_sparse(inputs), attention_truth.torch_sparse(inputs))


def stand_in(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, compute: Callable[[Inputs], Any]
) -> None:
    """Replaces a function by `compute`, which gets the bound arguments."""
    signature = inspect.signature(getattr(module, name))

    def called(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return compute(bound.arguments)

    monkeypatch.setattr(module, name, called)


def test_rope(monkeypatch: pytest.MonkeyPatch) -> None:
    def compute(given: Inputs) -> None:
        size = given["head_size"]
        tensors = {"q": given["query"], "k": given["key"]}
        turned = pointwise_truth.torch_rope({
            **{name: value.view(len(value), -1, size) for name, value in tensors.items()},
            "cos_sin_cache": given["cos_sin_cache"], "positions": given["positions"],
        })  # fmt: skip
        for name, value in tensors.items():
            value.copy_(turned[f"{name}_out"].flatten(1))

    stand_in(monkeypatch, flashinfer.rope, "apply_rope_with_cos_sin_cache_inplace", compute)
    inputs = inputs_of("rope_with_cos_sin_cache_neox")
    before = inputs["q"].clone()
    agree(pointwise_truth.flashinfer_rope(inputs), pointwise_truth.torch_rope(inputs))
    assert torch.equal(inputs["q"], before)


@pytest.mark.parametrize("kind", ["rmsnorm", "gemma_rmsnorm"])
@pytest.mark.parametrize("fused", [False, True])
def test_norms(monkeypatch: pytest.MonkeyPatch, kind: str, fused: bool) -> None:
    truth = getattr(pointwise_truth, f"torch_{kind}")
    api = kind.replace("rmsnorm", "fused_add_rmsnorm") if fused else kind

    def compute(given: Inputs) -> Any:
        inputs = {"hidden_states": given["input"], "weight": given["weight"]}
        inputs |= {"residual": given["residual"]} if fused else {}
        result = truth(inputs)["output"]
        return given["input"].copy_(result) if fused else result

    stand_in(monkeypatch, flashinfer.norm, api, compute)
    inputs = inputs_of(f"{api}_h")
    agree(getattr(pointwise_truth, f"flashinfer_{api}")(inputs), truth(inputs))


def test_gdn_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    gdn_decode = pytest.importorskip("flashinfer.gdn_decode", exc_type=ImportError)

    def compute(given: Inputs) -> Any:
        assert given["use_qk_l2norm"] is False
        found = recurrent_truth.torch_gdn_decode(given)
        given["state"].copy_(found["new_state"])
        return found["output"], given["state"]

    stand_in(monkeypatch, gdn_decode, "gated_delta_rule_decode_pretranspose", compute)
    inputs = inputs_of("gdn_decode")
    before = inputs["state"].clone()
    want = recurrent_truth.torch_gdn_decode(inputs)
    agree(recurrent_truth.flashinfer_gdn_decode(inputs), want)
    assert torch.equal(inputs["state"], before)


def test_gdn_mtp(monkeypatch: pytest.MonkeyPatch) -> None:
    gdn_decode = pytest.importorskip("flashinfer.gdn_decode", exc_type=ImportError)

    def compute(given: Inputs) -> Any:
        assert given["use_qk_l2norm"] is False and given["disable_state_update"] is True
        found = recurrent_truth.torch_gdn_mtp(given)
        return found["output"], found["final_state"]

    stand_in(monkeypatch, gdn_decode, "gated_delta_rule_mtp", compute)
    inputs = inputs_of("gdn_mtp")
    agree(recurrent_truth.flashinfer_gdn_mtp(inputs), recurrent_truth.torch_gdn_mtp(inputs))


def test_gdn_prefill(monkeypatch: pytest.MonkeyPatch) -> None:
    gdn_prefill = pytest.importorskip("flashinfer.gdn_prefill", exc_type=ImportError)

    def compute(given: Inputs) -> Any:
        assert given["use_qk_l2norm_in_kernel"] is False and given["output_final_state"]
        assert 0 < float(given["g"].min()) and float(given["g"].max()) <= 1  # the decay itself
        logit = torch.log(given["beta"] / (1 - given["beta"]))
        step = torch.expm1(-torch.log(given["g"])).log()  # of A = 1: log1p(exp(step)) is -log g
        found = recurrent_truth.torch_gdn_prefill({
            **{name: given[name] for name in ("q", "k", "v", "scale", "cu_seqlens")},
            "state": given["initial_state"], "a": step, "b": logit,
            "A_log": torch.zeros(step.shape[1]), "dt_bias": torch.zeros(step.shape[1]),
        })  # fmt: skip
        return found["output"], found["new_state"]

    stand_in(monkeypatch, gdn_prefill, "chunk_gated_delta_rule", compute)
    inputs = inputs_of("gdn_prefill")
    agree(recurrent_truth.flashinfer_gdn_prefill(inputs), recurrent_truth.torch_gdn_prefill(inputs))


def test_mamba(monkeypatch: pytest.MonkeyPatch) -> None:
    from flashinfer import mamba

    def compute(given: Inputs) -> Any:
        assert given["dt_softplus"] is True
        for name, axes in (("A", (1, 2)), ("dt", (2,)), ("D", (1,)), ("dt_bias", (1,))):
            assert all(given[name].stride(axis) == 0 for axis in axes), name
        names = ("state", "x", "dt", "A", "B", "C", "D", "dt_bias", "state_batch_indices")
        found = recurrent_truth.torch_mamba({name: given[name] for name in names})
        given["state"].copy_(found["new_state"])
        return found["output"]

    stand_in(monkeypatch, mamba, "selective_state_update", compute)
    inputs = inputs_of("mamba_ssu")
    before = inputs["state"].clone()
    agree(recurrent_truth.flashinfer_mamba(inputs), recurrent_truth.torch_mamba(inputs))
    assert torch.equal(inputs["state"], before)
