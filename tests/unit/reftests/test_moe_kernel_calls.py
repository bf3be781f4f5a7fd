"""How SGLang's experts and DeepGEMM's indexer are called, with stand-ins for the two packages."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from samples import DEFINITIONS  # noqa: E402

from kernelkit.ops import family  # noqa: E402
from kernelkit.reftests.parts import indexer_truth, moe_truth  # noqa: E402
from kernelkit.reftests.plans import plan_of  # noqa: E402

SGLANG = "sglang.srt.layers.moe.moe_runner"
NAMES = [name for name, definition in DEFINITIONS.items() if definition.op_type == "moe"]


def _scaled(weights: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    if scale is None:
        return weights.float()
    full = scale.repeat_interleave(128, dim=1).repeat_interleave(128, dim=2)
    return weights.float() * full


def fused_experts(
    x: torch.Tensor, w13: torch.Tensor, w2: torch.Tensor, routing: Any, config: Any, **options: Any
) -> torch.Tensor:
    """What SGLang's kernel computes: rows [gate; up], expert -1 is another rank's."""
    assert x.dtype == torch.bfloat16 and w13.is_contiguous() and w2.is_contiguous()
    weights, ids, _ = routing
    assert ids.dtype == torch.int32 and weights.dtype == torch.float32
    assert (options.get("block_shape") == [128, 128]) == options.get("use_fp8_w8a8", False)
    first = _scaled(w13, options.get("w1_scale"))
    second = _scaled(w2, options.get("w2_scale"))
    output = torch.zeros(x.shape)
    for token, row in enumerate(ids.tolist()):
        for place, expert in enumerate(row):
            if expert < 0:
                continue
            weight = weights[token, place]
            rows = x[token].float() * (weight if config.apply_router_weight_on_input else 1.0)
            gate, up = (first[expert] @ rows).chunk(2)
            y = second[expert] @ (torch.nn.functional.silu(gate) * up)
            output[token] += y if config.apply_router_weight_on_input else y * weight
    return output.to(torch.bfloat16)


@pytest.fixture
def sglang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the names that are imported."""
    modules = {
        "sglang.srt": {},
        "sglang.srt.server_args": {},
        f"{SGLANG}.base": {"MoeRunnerConfig": SimpleNamespace},
        f"{SGLANG}.triton_utils.fused_moe": {"fused_experts": fused_experts},
    }
    for name, members in modules.items():
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            whole = ".".join(parts[:end])
            if whole not in sys.modules or end == len(parts):
                made = ModuleType(whole)
                made.__path__ = []
                monkeypatch.setitem(sys.modules, whole, made)
        for key, value in members.items():
            setattr(sys.modules[name], key, value)
    sys.modules["sglang.srt"].server_args = sys.modules["sglang.srt.server_args"]


@pytest.mark.usefixtures("sglang")
@pytest.mark.parametrize("name", NAMES)
def test_sglang_computes_the_same(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    definition = DEFINITIONS[name]
    plan = plan_of(definition)
    for key, value in plan.constants.items():
        if key != "BIAS":
            known = getattr(moe_truth, value) if key.islower() else value
            monkeypatch.setattr(moe_truth, key, known)
    inputs = family("moe").make_inputs(definition, {"seq_len": 7}, seed=2)
    if "local_expert_offset" in inputs:
        inputs["local_expert_offset"] = 8
    got = getattr(moe_truth, plan.truths[0].function)(inputs)["output"].double()
    want = moe_truth.torch_moe(inputs)["output"]
    assert float(want.abs().max()) > 0.1
    error = (got - want).norm() / want.norm()
    assert float(error) < 0.01


def test_deep_gemm_gets_what_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = next(d for name, d in DEFINITIONS.items() if name.startswith("dsa_topk"))
    op = family("dsa_paged")
    inputs = op.make_inputs(definition, op.small_axes(definition), seed=2)

    def logits(
        q: torch.Tensor, cache: torch.Tensor, weights: torch.Tensor, lengths: torch.Tensor,
        table: torch.Tensor, plan: str, width: int, *, clean_logits: bool,
    ) -> torch.Tensor:  # fmt: skip
        assert q.shape[1] == 1 and q.dim() == 4 and cache.dtype == torch.uint8
        assert lengths.shape == (len(q), 1) and plan == "plan" and not clean_logits
        given = {"q_index_fp8": q[:, 0], "k_index_cache_fp8": cache.view(torch.int8)}
        given |= {"weights": weights, "seq_lens": lengths[:, 0], "block_table": table}
        scores = indexer_truth.torch_scores(given)
        return scores.nan_to_num(neginf=7.0).float()[:, :width]  # behind the end stands anything

    module = ModuleType("deep_gemm")
    module.get_paged_mqa_logits_metadata = lambda *_: "plan"
    module.fp8_paged_mqa_logits = logits
    monkeypatch.setitem(sys.modules, "deep_gemm", module)
    properties = SimpleNamespace(multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    got, want = indexer_truth.deep_gemm_scores(inputs), indexer_truth.torch_scores(inputs)
    assert torch.equal(got.isinf(), want.isinf())
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
