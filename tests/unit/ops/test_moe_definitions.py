"""The moe family: names and interfaces, what a model derives, what is refused.

The references are tested in test_moe.py, inputs and costs in test_moe_inputs.py, the published
files in test_signatures.py.
"""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from specs import DENSE, LATENT, LINEAR, ROUTED

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError
from kernelkit.models.parallelism import Parallelism
from kernelkit.models.spec import ModelSpec
from kernelkit.ops import family
from kernelkit.ops.derivation import Request, derive
from kernelkit.ops.moe.forms import ROUTINGS
from kernelkit.ops.placement import place

OP: Any = family("moe")
KINDS = [(kind, routing) for kind, routings in ROUTINGS.items() for routing in routings]
CASES = [(*kind, local) for kind in KINDS for local in (16, 4) if local == 16 or kind[0] != "bf16"]


def small(kind: str, routing: str | None, **changes: int) -> Definition:
    """16 experts; top-3 but for llama4; DeepSeek keeps 2 of 4 groups."""
    constants = {"num_experts": 16, "top_k": 1 if routing == "llama4" else 3}
    constants |= {"hidden_size": 256, "intermediate_size": 128}
    if routing == "ds":
        constants |= {"n_group": 4, "topk_group": 2}
    return OP.definition(kind, routing, **(constants | changes))


def test_published_interfaces() -> None:
    """Literal expectations; the published files are compared in test_signatures.py."""
    sizes = {"hidden_size": 2048, "intermediate_size": 768}
    renorm = OP.definition("fp8_block", "renorm", num_experts=128, top_k=8, **sizes)
    assert renorm.name == "moe_fp8_block_scale_renorm_topk8_e128_h2048_i768"
    assert list(renorm.axes) == [
        "seq_len", "num_local_experts", "hidden_size", "intermediate_size", "gemm1_out_size",
        "top_k", "num_hidden_blocks", "num_intermediate_blocks", "num_gemm1_out_blocks",
    ]  # fmt: skip
    assert list(renorm.inputs) == [
        "routing_logits", "hidden_states", "hidden_states_scale", "gemm1_weights",
        "gemm1_weights_scale", "gemm2_weights", "gemm2_weights_scale",
    ]  # fmt: skip
    assert renorm.inputs["routing_logits"].shape == ["seq_len", "num_local_experts"]
    scout = OP.definition(
        "fp8_per_tensor", "llama4", num_experts=16, top_k=1, hidden_size=5120,
        intermediate_size=8192,
    )  # fmt: skip
    assert scout.name == "trtllm_fp8_per_tensor_scale_moe_topk1_e16_h5120_i8192"
    assert list(scout.inputs) == [
        "routing_logits", "hidden_states", "gemm1_weights", "output1_scales_scalar",
        "output1_scales_gate_scalar", "gemm2_weights", "output2_scales_scalar", "routing_bias",
    ]  # fmt: skip
    routed = OP.definition("fp4_routed", "renorm", num_experts=128, top_k=8, **sizes)
    assert routed.name == "trtllm_fp4_block_scale_routed_moe_topk8_e128_h2048_i768"
    assert list(routed.inputs) == ["topk_ids", "hidden_states", "gemm1_weights", "gemm2_weights"]


def test_the_interface_of_cutlass_fused_moe() -> None:
    """As FlashInfer's tracer writes it (0.6.12, 0.7.2); no model derives it."""
    sizes = {"hidden_size": 2048, "intermediate_size": 768}
    made = OP.definition("bf16", None, num_experts=128, top_k=8, **sizes)
    assert made.name == "cutlass_fused_moe_e128_h2048_i768_topk8"
    assert list(made.axes) == [
        "seq_len", "num_local_experts", "hidden_size", "intermediate_size", "top_k",
        "gemm1_out_size",
    ]  # fmt: skip
    assert {name: (spec.shape, spec.dtype.value) for name, spec in made.inputs.items()} == {
        "input": (["seq_len", "hidden_size"], "bfloat16"),
        "token_selected_experts": (["seq_len", "top_k"], "int32"),
        "token_final_scales": (["seq_len", "top_k"], "float32"),
        "fc1_expert_weights": (["num_local_experts", "gemm1_out_size", "hidden_size"], "bfloat16"),
        "fc2_expert_weights": (
            ["num_local_experts", "hidden_size", "intermediate_size"],
            "bfloat16",
        ),
    }
    assert OP.definition("bf16", "renorm", num_experts=128, top_k=8, **sizes) == made
    with pytest.raises(UsageError, match="holds all experts"):
        OP.definition("bf16", None, num_experts=128, num_local_experts=16, top_k=8, **sizes)


PUBLISHED = (
    "moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e48_h7168_i2048",
    "moe_fp8_block_scale_renorm_topk10_e128_h2048_i512",
    "moe_fp8_block_scale_renorm_topk8_e128_h2048_i768",
    "moe_fp8_block_scale_renorm_topk8_e128_h4096_i1536",
    "trtllm_fp4_block_scale_moe_topk10_e128_h2048_i512",
    "trtllm_fp4_block_scale_moe_topk1_e128_h5120_i8192",
    "trtllm_fp4_block_scale_moe_topk1_e16_h5120_i8192",
    "trtllm_fp4_block_scale_moe_topk8_e128_h2048_i768",
    "trtllm_fp4_block_scale_routed_moe_topk1_e128_h5120_i8192",
    "trtllm_fp4_block_scale_routed_moe_topk8_e128_h2048_i768",
    "trtllm_fp8_per_tensor_scale_moe_topk1_e128_h5120_i8192",
    "trtllm_fp8_per_tensor_scale_moe_topk1_e16_h5120_i8192",
)
# Published signatures that ours differs from on purpose: name -> reason. None of the twelve.
INTENDED: dict[str, str] = {}


def test_published_signatures_are_reproduced(extra: Path) -> None:
    folder = extra / "data" / "definition_signatures" / "moe"
    assert sorted(path.stem for path in folder.glob("*.json")) == sorted(PUBLISHED)
    differing = []
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text()) | {"reference": "def run():\n    pass\n"}
        old = Definition.model_validate(document)
        if OP.rebuild(old.name, old.const_axes).signature() != old.signature():
            differing.append(old.name)
    assert sorted(differing) == sorted(INTENDED)


@pytest.mark.parametrize(("kind", "routing", "local"), CASES)
def test_run_takes_the_inputs_in_order(kind: str, routing: str | None, local: int) -> None:
    definition = small(kind, routing, num_local_experts=local)
    run = next(n for n in ast.parse(definition.reference).body if getattr(n, "name", "") == "run")
    assert [argument.arg for argument in run.args.args] == list(definition.inputs)
    rebuilt = OP.rebuild(definition.name, definition.const_axes)
    if routing not in ("renorm", "llama4") or kind == "fp8_block":  # the name says it
        assert rebuilt == definition


def test_a_name_of_another_family_is_refused() -> None:
    with pytest.raises(UsageError, match="name"):
        OP.rebuild("gemm_n1_k1", small("fp4_block", "renorm").const_axes)


def test_a_part_of_the_experts_can_route() -> None:
    for kind, routing in (case[:2] for case in CASES if case[2] == 4):
        definition = small(kind, routing, num_local_experts=4)
        assert definition.const_axes["num_experts"] == 16
        assert definition.const_axes["num_local_experts"] == 4
        assert definition.inputs["gemm1_weights"].shape[0] == "num_local_experts"
        assert "local_expert_offset" in definition.inputs
        if routing is not None:
            assert definition.inputs["routing_logits"].shape == ["seq_len", "num_experts"]


def test_ng8_kg4_has_the_form_of_ng1() -> None:
    names = [v.definition for v in OP.derive(LATENT, Parallelism(ep=8), ())]
    (deepseek,) = names
    assert deepseek.name == "moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048"
    ours = OP.definition(
        "fp8_block", "ds", num_experts=384, num_local_experts=48, top_k=8, hidden_size=7168,
        intermediate_size=2048,
    )  # fmt: skip
    assert list(deepseek.axes) == list(ours.axes) and "top_k" in deepseek.axes
    assert deepseek.constraints == ours.constraints != []
    assert deepseek.inputs == ours.inputs


def test_recorded_workloads_fit(extra: Path) -> None:
    """The recorded calls name exactly our inputs and variable axes."""
    name = "moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048"
    (variant,) = OP.derive(LATENT, Parallelism(ep=8), ())
    assert variant.definition.name == name
    lines = (extra / "data" / "workloads" / "moe" / f"{name}.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        workload = json.loads(line)["workload"]
        assert set(workload["inputs"]) == set(variant.definition.inputs)
        assert list(workload["axes"]) == variant.definition.var_axes


def derived(spec: ModelSpec, ep: int = 1) -> list[str]:
    """Names of a model's definitions; TP must not matter."""
    variants = list(OP.derive(spec, Parallelism(tp=8, ep=ep), (1, 64)))
    assert [v.definition for v in variants] == [
        v.definition for v in OP.derive(spec, Parallelism(ep=ep), ())
    ]
    return [v.definition.name for v in variants]


def test_derivation() -> None:
    assert derived(DENSE) == []
    assert derived(LATENT) == ["moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e256_h7168_i2048"]
    assert derived(LINEAR, ep=4) == [
        "moe_fp8_block_scale_renorm_topk10_e128_h2048_i512",
        "trtllm_fp4_block_scale_moe_topk10_e128_h2048_i512",
        "trtllm_fp4_block_scale_routed_moe_topk10_e128_h2048_i512",
        "trtllm_fp8_per_tensor_scale_moe_topk10_e128_h2048_i512",
    ]
    assert derived(ROUTED) == [
        "trtllm_fp4_block_scale_moe_topk1_e16_h5120_i8192",
        "trtllm_fp4_block_scale_routed_moe_topk1_e16_h5120_i8192",
        "trtllm_fp8_per_tensor_scale_moe_topk1_e16_h5120_i8192",
    ]
    for routing in ("default", "renorm_naive", "topk"):
        spec = replace(LINEAR, moe=replace(LINEAR.moe, routing=routing))
        assert derived(spec) == [f"moe_fp8_block_scale_{routing}_topk10_e512_h2048_i512"]
    with pytest.raises(UsageError, match="experts"):
        derived(ROUTED, ep=3)


@pytest.mark.parametrize(
    "changes",
    [
        {"routing": None},
        {"routing": "sparsemixer"},
        {"gated": False, "activation": "relu2"},
        {"activation": "swiglu_clamped"},
        {"latent_size": 1024},
    ],
)
def test_other_experts_have_no_form(changes: dict[str, Any]) -> None:
    assert derived(replace(LINEAR, moe=replace(LINEAR.moe, **changes))) == []


def test_block_scales_need_multiples_of_128() -> None:
    spec = replace(LINEAR, moe=replace(LINEAR.moe, intermediate_size=448))
    assert [name.split("_")[0] for name in derived(spec)] == ["trtllm"] * 3
    assert derived(replace(LATENT, hidden_size=7200)) == []


@pytest.mark.parametrize(
    ("kind", "routing", "changes"),
    [
        ("fp8_block", "sparsemixer", {}),
        ("fp4_block", "ds", {}),
        ("int4", "renorm", {}),
        ("fp8_block", "llama4", {"top_k": 2}),
        ("fp8_block", "renorm", {"top_k": 17}),
        ("fp8_block", "renorm", {"num_local_experts": 17}),
        ("fp8_block", "renorm", {"hidden_size": 200}),
        ("fp8_block", "ds", {"n_group": 3}),
        ("fp8_block", "ds", {"topk_group": 5}),
        ("fp8_block", "ds", {"n_group": 16, "topk_group": 2}),
    ],
)
def test_contradictions_are_refused(kind: str, routing: str, changes: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        small(kind, routing, **changes)


def test_two_counts_of_experts_do_not_share_a_name(dataset: Dataset) -> None:
    """128 experts, all here, and 128 of 512: one keeps the name, the other says its count."""
    whole = replace(LINEAR, moe=replace(LINEAR.moe, num_experts=128))
    for spec, ep in ((whole, 1), (LINEAR, 4)):
        request = Request(parallel=(Parallelism(ep=ep),), op_types=("moe",))
        outcomes = list(place(dataset, derive(spec, request).variants, refresh=False))
        assert {outcome.action for outcome in outcomes} == {"new"}
        for outcome in outcomes:
            dataset.write_definition(outcome.definition)
    names = [outcome.definition.name for outcome in outcomes]
    assert all(name.endswith("_i512_ne512") for name in names)
    for name in names:  # what reads a name reads the second one too
        definition = dataset.find_definition(name)
        assert OP.cost(definition, OP.small_axes(definition)).flops > 0
