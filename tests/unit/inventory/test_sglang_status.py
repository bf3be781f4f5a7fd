"""SGLang's side: on the model's path, elsewhere in the sources, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from inventory_models import model_of

from kernelkit.dataset.definition import Definition
from kernelkit.inventory.sglang_status import SglangSide, shortened
from kernelkit.inventory.support import FlashInferSide
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive
from kernelkit.sglang.document import Implementation, KernelCall, Module

FILES = {
    "layers/layernorm.py": """
if cuda:
    from sgl_kernel import rmsnorm, silu_and_mul
class RMSNorm:
    def forward(self, x):
        return rmsnorm(x)
""",
    "layers/backend.py": """
def make():
    from flashinfer.decode import BatchDecodeWithPagedKVCacheWrapper as Decode
    return Decode(1)
""",
    "layers/moe.py": "import flashinfer\ndef f(): return flashinfer.fused_moe.trtllm_fp8(1)\n",
    "layers/lazy.py": (
        'lazily = LazyImport("flashinfer.sampling", "lazily")\ndef f(x):\n    return lazily(x)\n'
    ),
    "layers/only_imports.py": "from flashinfer.prefill import Unused\n",
    "layers/names.py": "# flashinfer has top_k_sampling_from_probs, which stays unused here\n",
    "test/test_it.py": "from flashinfer.sampling import top_k_sampling_from_probs\n",
    "layers/broken.py": "from flashinfer import (\n",
}


@pytest.fixture
def side(tmp_path: Path) -> SglangSide:
    for name, text in FILES.items():
        path = tmp_path / "sglang" / "srt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return SglangSide(tmp_path / "sglang", "1.2.3")


def _definition(op_type: str) -> Definition:
    request = Request(parallel=(Parallelism(),), op_types=(op_type,))
    return derive(model_of("meta-llama__Llama-3.1-8B").spec, request).variants[0].definition


def _supported(api: str) -> FlashInferSide:
    return FlashInferSide(api, "fi_supported", "t")


@pytest.mark.parametrize(
    ("api", "file", "line", "text"),
    [
        ("flashinfer.norm.rmsnorm", "layernorm.py", 6, "rmsnorm is called through sgl_kernel"),
        ("flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper", "backend.py", 4, "is called"),
        ("flashinfer.fused_moe.trtllm_fp8", "moe.py", 2, "trtllm_fp8 is called"),
        ("flashinfer.sampling.lazily", "lazy.py", 3, "lazily is called"),
        ("flashinfer.prefill.Unused", "only_imports.py", 1, "Unused is imported"),
    ],
)
def test_a_call_is_found_with_its_line(
    side: SglangSide, api: str, file: str, line: int, text: str
) -> None:
    found = side.status(_definition("rmsnorm"), _supported(api))
    assert (found.status, found.default_path) == ("sgl_integrated", None)
    first = found.evidence[0]
    assert (first.file, first.line) == (f"sglang/srt/layers/{file}", line)
    assert text in first.text


@pytest.mark.parametrize("name", ["top_k_sampling_from_probs", "silu_and_mul", "absent"])
def test_a_name_that_is_not_called_is_missing(side: SglangSide, name: str) -> None:
    found = side.status(_definition("sampling"), _supported(f"flashinfer.x.{name}"))
    assert found.status == "sgl_missing"
    assert "SGLang 1.2.3" in found.evidence[0].text


def test_what_flashinfer_lacks_is_not_applicable(side: SglangSide) -> None:
    missing = FlashInferSide("flashinfer.norm.rmsnorm", "fi_missing")
    assert side.status(_definition("rmsnorm"), missing).status == "n/a"
    assert side.status(_definition("rmsnorm"), FlashInferSide(None)).status == "n/a"


def test_a_gemm_that_sglang_leaves_to_torch_is_not_applicable(side: SglangSide) -> None:
    found = side.status(_definition("gemm"), _supported("flashinfer.gemm.mm_bf16"))
    assert found.status == "n/a"


def _implementation(*calls: KernelCall) -> Implementation:
    return Implementation(
        sglang_version="1.2.3", architecture="A", attention_backend="flashinfer",
        model_file="m.py", entry_class="A", kernels=list(calls),
    )  # fmt: skip


def test_the_models_own_path_goes_first(side: SglangSide) -> None:
    call = KernelCall(
        module="RMSNorm", op_type="rmsnorm", provider="sgl-kernel", symbol="sgl_kernel.rmsnorm",
        file="sglang/srt/x.py", line=7, condition="on CUDA", fi_api="flashinfer.norm.rmsnorm",
    )  # fmt: skip
    own = SglangSide(side.root, "1.2.3", _implementation(call))
    found = own.status(_definition("rmsnorm"), _supported("flashinfer.norm.rmsnorm"))
    assert (found.status, found.default_path) == ("sgl_integrated", True)
    assert found.evidence[0].line == 7 and "on CUDA" in found.evidence[0].text


@pytest.mark.parametrize(("page_size", "recordable"), [(1, True), (64, False)])
def test_pages_of_many_tokens_are_never_planned(
    side: SglangSide, page_size: int, recordable: bool
) -> None:
    request = Request(op_types=("gqa_paged",), page_sizes=(page_size,))
    definition = derive(model_of("meta-llama__Llama-3.1-8B").spec, request).variants[0].definition
    api = "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper"
    call = KernelCall(
        module="RadixAttention", op_type="gqa_paged", provider="flashinfer", symbol=f"{api}.run",
        file="sglang/srt/x.py", line=7, fi_api=f"{api}.run",
    )  # fmt: skip
    own = SglangSide(side.root, "0.5.14", _implementation(call))
    found = own.status(definition, _supported(api))
    assert (found.status, found.default_path) == ("sgl_integrated", recordable)
    assert ("pages of one token" in found.evidence[0].text) is not recordable
    assert found.evidence[-1].line == 7


def test_another_path_is_said_to_be_one(side: SglangSide) -> None:
    call = KernelCall(module="MoE", op_type="rmsnorm", provider="triton", symbol="triton_norm",
                      file="sglang/srt/y.py", line=9)  # fmt: skip
    own = SglangSide(side.root, "1.2.3", _implementation(call))
    found = own.status(_definition("rmsnorm"), _supported("flashinfer.norm.rmsnorm"))
    assert (found.status, found.default_path) == ("sgl_integrated", False)
    assert [e.line for e in found.evidence] == [6, 9]
    missing = own.status(_definition("rmsnorm"), _supported("flashinfer.norm.none"))
    assert missing.status == "sgl_missing"
    assert missing.evidence[1].text == "MoE calls triton_norm (triton)"


def test_a_norm_of_another_width_is_not_this_one(side: SglangSide) -> None:
    common = {"op_type": "rmsnorm", "provider": "sgl-kernel", "file": "sglang/srt/x.py"}
    plan = {"symbol": "W.plan", "fi_api": "flashinfer.norm.rmsnorm"}
    calls = [
        KernelCall(module="Norm", line=1, paths=["q_norm"], **common, **plan),
        KernelCall(module="Norm", line=2, paths=["norm"], **common, **plan),
        KernelCall(module="Norm", line=3, paths=["norm"], **common, **{**plan, "symbol": "W.run"}),
    ]
    modules = [
        Module(name=name, path=name, layer_class="Norm", file="m.py", line=1, count=1,
               arguments={"hidden_size": width})
        for name, width in (("q_norm", 128), ("norm", 4096))
    ]  # fmt: skip
    made = _implementation(*calls).model_copy(update={"modules": modules})
    own = SglangSide(side.root, "1.2.3", made)
    found = own.status(_definition("rmsnorm"), _supported("flashinfer.norm.rmsnorm"))
    assert [e.line for e in found.evidence] == [3, 2]  # what runs goes before what plans


def test_long_conditions_are_cut() -> None:
    assert shortened("x" * 160) == "x" * 160
    assert len(shortened("x" * 161)) == 160
