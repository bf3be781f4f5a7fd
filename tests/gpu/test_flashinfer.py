"""On a CUDA device the references agree with FlashInfer's own kernels, on the families' inputs.

Ground truth from outside: what a reference computes is what the kernel of the dataset computes.
Needs flashinfer-python with a compiler (its kernels are built at first use, which takes minutes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
flashinfer = pytest.importorskip("flashinfer", exc_type=ImportError)

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.models.spec import AttentionSpec, Layer, ModelSpec  # noqa: E402
from kernelkit.ops import family  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]

Inputs = dict[str, Any]
WORKSPACE_BYTES = 256 << 20


def workspace() -> torch.Tensor:
    """A zeroed scratch buffer."""
    return torch.zeros(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")


def inputs_of(definition: Definition, axes: dict[str, int] | None = None) -> Inputs:
    """Inputs on the device, from a fixed seed."""
    op = family(definition.op_type)
    return op.make_inputs(definition, axes or op.small_axes(definition), seed=3, device="cuda")


def reference(definition: Definition, inputs: Inputs) -> tuple[torch.Tensor, ...]:
    """What the definition's own text gives."""
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    outputs = namespace["run"](*inputs.values())
    return outputs if isinstance(outputs, tuple) else (outputs,)


def agree(definition: Definition, inputs: Inputs, *got: torch.Tensor) -> None:
    """Each output within the family's tolerance; infinities at the same places."""
    tolerance = family(definition.op_type).tolerance(definition)
    for name, want, value in zip(
        definition.outputs, reference(definition, inputs), got, strict=True
    ):
        close = torch.isclose(value.float(), want.float(), atol=tolerance.atol, rtol=tolerance.rtol)
        share = close.float().mean().item()
        worst = (value.float() - want.float()).nan_to_num().abs().max().item()
        assert share >= tolerance.matched_ratio, f"{name}: {share:.4f} match, worst {worst:.3g}"


def attention(heads: int, kv: int, dim: int, op_type: str, part: str) -> Definition:
    """The one definition of that shape whose name contains `part`."""
    spec = ModelSpec(
        "x", "x", 1, 256, 1000, (Layer("attention", "none"),),
        attention=AttentionSpec(heads, kv, dim, dim**-0.5),
    )  # fmt: skip
    variants = family(op_type).derive(spec, Parallelism(), (1, 16, 64))
    return next(v.definition for v in variants if part in v.definition.name)


def last_pages(inputs: Inputs) -> torch.Tensor:
    """kv_last_page_len, all ones where the page size is 1."""
    count = inputs["kv_indptr"].numel() - 1
    return inputs.get("kv_last_page_len", torch.ones(count, dtype=torch.int32, device="cuda"))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("gemma", [False, True])
def test_rmsnorm(fused: bool, gemma: bool) -> None:
    definition = family("rmsnorm").definition(4096, 1e-5, fused=fused, gemma=gemma)
    inputs = inputs_of(definition, {"batch_size": 37})
    api: Callable[..., Any] = getattr(flashinfer.norm, definition.name.rsplit("_h", 1)[0])
    copies = {name: value.clone() for name, value in inputs.items()}
    got = api(*copies.values(), eps=1e-5)
    agree(definition, inputs, copies["hidden_states"] if fused else got)


@pytest.mark.parametrize("page_size", [1, 16, 64])
@pytest.mark.parametrize(("heads", "kv"), [(32, 8), (8, 8), (32, 4)])
def test_gqa_paged_decode(heads: int, kv: int, page_size: int) -> None:
    definition = attention(
        heads, kv, 128, "gqa_paged", f"decode_h{heads}_kv{kv}_d128_ps{page_size}"
    )
    inputs = inputs_of(definition)
    wrapper = flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper(workspace(), "NHD")
    wrapper.plan(
        inputs["kv_indptr"], inputs["kv_indices"], last_pages(inputs), heads, kv, 128, page_size,
        q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16, sm_scale=inputs["sm_scale"],
    )  # fmt: skip
    cache = (inputs["k_cache"], inputs["v_cache"])
    agree(definition, inputs, *wrapper.run(inputs["q"], cache, return_lse=True))


@pytest.mark.parametrize("page_size", [1, 16, 64])
def test_gqa_paged_prefill(page_size: int) -> None:
    definition = attention(32, 8, 128, "gqa_paged", f"prefill_causal_h32_kv8_d128_ps{page_size}")
    inputs = inputs_of(definition)
    wrapper = flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper(workspace(), "NHD")
    wrapper.plan(
        inputs["qo_indptr"], inputs["kv_indptr"], inputs["kv_indices"], last_pages(inputs),
        32, 8, 128, page_size, causal=True, sm_scale=inputs["sm_scale"],
        q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16,
    )  # fmt: skip
    cache = (inputs["k_cache"], inputs["v_cache"])
    agree(definition, inputs, *wrapper.run(inputs["q"], cache, return_lse=True))


def test_gqa_ragged_prefill() -> None:
    definition = attention(32, 8, 128, "gqa_ragged", "gqa_ragged")
    inputs = inputs_of(definition)
    wrapper = flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper(workspace(), "NHD")
    wrapper.plan(
        inputs["qo_indptr"], inputs["kv_indptr"], 32, 8, 128, causal=True,
        sm_scale=inputs["sm_scale"], q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16,
    )  # fmt: skip
    agree(definition, inputs, *wrapper.run(inputs["q"], inputs["k"], inputs["v"], return_lse=True))


@pytest.mark.parametrize("kind", ["top_k", "top_p", "top_k_top_p"])
def test_sampling_stays_in_the_support(kind: str) -> None:
    """Every token that FlashInfer draws has a probability in the reference's distribution."""
    op = family("sampling")
    definitions = op.derive(
        ModelSpec("x", "x", 1, 256, 2000, (Layer("attention", "none"),)), Parallelism(), (1,)
    )
    definition = next(
        v.definition
        for v in definitions
        if v.definition.name == f"{kind}_sampling_from_probs_v2000"
    )
    inputs = inputs_of(definition, {"batch_size": 8})
    api = getattr(flashinfer.sampling, f"{kind}_sampling_from_probs")
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    options = {"filter_apply_order": "top_k_first"} if kind == "top_k_top_p" else {}
    drawn: list[set[int]] = [set() for _ in range(8)]
    allowed: list[set[int]] = [set() for _ in range(8)]
    for _ in range(300):
        for row, token in enumerate(api(*inputs.values(), **options).tolist()):
            drawn[row].add(token)
    for _ in range(3000):
        for row, token in enumerate(namespace["run"](*inputs.values()).tolist()):
            allowed[row].add(token)
    rare = sum(len(mine - theirs) for mine, theirs in zip(drawn, allowed, strict=True))
    assert rare <= 0.02 * sum(len(mine) for mine in drawn)
