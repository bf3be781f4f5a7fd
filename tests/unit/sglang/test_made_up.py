"""The whole answer for the made-up tree, and how it follows its sources."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kernelkit.errors import FormatError, UsageError
from kernelkit.models.spec import ModelSpec
from kernelkit.sglang.document import KernelCall
from kernelkit.sglang.implementation import Implementation, find, find_by_name
from kernelkit.sglang.summary import summary
from kernelkit.sglang.tree import SglangTree, locate


def _calls(found: Implementation) -> dict[str, KernelCall]:
    return {call.symbol: call for call in found.kernels}


def test_modules_with_counts_sizes_and_lines(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    found = find(tiny_moe, made_up)
    rows = {(m.path, m.layer_class): m for m in found.modules}
    counts = {key: m.count for key, m in rows.items()}
    assert counts["model.layers.*", "TinyMoeLayer"] == 4
    assert counts["model.layers.*.mlp", "TinyMLP"] == 1
    assert counts["model.layers.*.mlp", "TinyExperts"] == 3
    assert rows["model.layers.*.self_attn.qkv_proj", "TinyLinear"].arguments == {
        "input_size": 64, "output_size": 192}  # fmt: skip
    gate = rows["model.layers.*.mlp.gate", "TinyLinear"]
    assert gate.arguments == {"input_size": 64, "output_size": 6}
    assert gate.parent == "model.layers.*.mlp"
    text = (made_up.base / gate.file).read_text().splitlines()[gate.line - 1]
    assert "self.gate = TinyLinear" in text
    # The server's default decides: enable_wide_head is off.
    assert rows["lm_head", "TinyLinear"].arguments["output_size"] == 100
    assert (found.model_file, found.entry_class) == (
        "sglang/srt/models/tiny_moe.py", "TinyMoeForCausalLM")  # fmt: skip


def test_raw_config_wins_over_the_spec(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    found = find(tiny_moe, made_up, config={"first_k_dense_replace": 3, "hidden_size": 32})
    counts = {(m.name, m.layer_class): m.count for m in found.modules}
    assert (counts["mlp", "TinyMLP"], counts["mlp", "TinyExperts"]) == (3, 1)


def test_kernels_with_conditions_and_lines(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    calls = _calls(find(tiny_moe, made_up))
    norm = calls["sgl_kernel.rmsnorm"]
    assert (norm.module, norm.op_type, norm.provider) == ("TinyRMSNorm", "rmsnorm", "sgl-kernel")
    assert (norm.fi_api, norm.condition) == ("flashinfer.norm.rmsnorm", "residual is None")
    assert calls["sgl_kernel.fused_add_rmsnorm"].condition == "residual is not None"
    decode = calls["flashinfer.BatchDecodeWithPagedKVCacheWrapper.forward"]
    assert decode.fi_api == "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper"
    assert (decode.op_type, decode.condition) == ("gqa_paged", "forward_batch.is_decode()")
    assert decode.paths == ["model.layers.*.self_attn.attn"]
    for call in calls.values():
        line = (made_up.base / call.file).read_text().splitlines()[call.line - 1]
        assert call.symbol.rsplit(".", 1)[-1] in line, call
    assert not any("aiter" in symbol for symbol in calls), "another platform's branch was taken"
    assert "torch.matmul" not in calls, "forward_native is not what a GPU runs"


def test_another_backend(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    calls = _calls(find(tiny_moe, made_up, "triton"))
    assert calls["sglang.srt.layers.attention.paged._scores"].provider == "triton"
    assert not any("Wrapper" in symbol for symbol in calls)
    with pytest.raises(UsageError, match="flashinfer, triton"):
        find(tiny_moe, made_up, "nothing")


def test_refused_backend_is_noted(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    assert find(tiny_moe, made_up).notes == [
        "SGLang refuses attention_backend=flashinfer for TinyMoeForCausalLM: "
        "sglang/srt/server_args.py:13"
    ]
    assert find(tiny_moe, made_up, "triton").notes == []


def test_trace_templates(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    unknown = find(tiny_moe, made_up)
    assert {call.has_trace_template for call in unknown.kernels} == {None}
    calls = _calls(find(tiny_moe, made_up, flashinfer=made_up.base / "flashinfer"))
    assert calls["sgl_kernel.rmsnorm"].has_trace_template is True
    assert calls["sgl_kernel.fused_add_rmsnorm"].has_trace_template is False
    assert calls["flashinfer.BatchDecodeWithPagedKVCacheWrapper.forward"].has_trace_template is True
    assert calls["torch.argmax"].has_trace_template is None


def test_excerpts_hold_what_they_name(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    found = find(tiny_moe, made_up)
    assert any(e.what == "class TinyExperts" for e in found.excerpts)
    for excerpt in found.excerpts:
        lines = (made_up.base / excerpt.file).read_text().splitlines()
        text = "\n".join(lines[excerpt.first_line - 1 : excerpt.last_line])
        name = excerpt.what.removeprefix("class ").split(":")[0]
        assert f"class {name}" in text or f"def {name}" in text


def test_by_name_without_a_config(made_up: SglangTree) -> None:
    found = find_by_name("tiny_moe", made_up)
    classes = {m.layer_class for m in found.modules}
    assert {"TinyExperts", "TinyMLP", "TinyMoeLayer"} <= classes  # both branches: nothing decides
    assert {m.condition for m in found.modules if m.layer_class == "TinyExperts"} == {
        "layer_id >= config.first_k_dense_replace"}  # fmt: skip
    assert any("no config" in note for note in found.notes)


def test_document_round_trip(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    found = find(tiny_moe, made_up)
    document = json.loads(found.to_text())
    assert document["schema_version"] == 1
    assert Implementation.from_json(document) == found
    with pytest.raises(FormatError, match="modules"):
        Implementation.from_json({**document, "modules": 3})
    assert "    3 x     mlp TinyExperts" in summary(found)


def test_one_broken_file_hides_no_other(
    made_up: SglangTree, tiny_moe: ModelSpec, tmp_path: Path
) -> None:
    shutil.copytree(made_up.base, tmp_path / "copy")
    copy = locate(tmp_path / "copy")
    (copy.root / "srt" / "layers" / "linear.py").write_text("def broken(:\n")
    found = find(tiny_moe, copy)
    assert "sgl_kernel.rmsnorm" in _calls(found)
    assert not any(m.layer_class == "TinyLinear" for m in found.modules)


def test_sources_are_read_and_never_run(made_up: SglangTree, tiny_moe: ModelSpec) -> None:
    import sys

    before = set(sys.modules)
    find(tiny_moe, made_up)  # the fixture's is_cuda raises when it is run
    added = set(sys.modules) - before
    assert not {name for name in added if name.split(".")[0] in ("sglang", "torch", "flashinfer")}
