"""Deriving into a dataset: tags are merged, nothing is overwritten, variants are told apart."""

from __future__ import annotations

import pytest

from kernelkit.dataset.definition import DType
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError
from kernelkit.models.parallelism import Parallelism, parallel_grid
from kernelkit.models.spec import AttentionSpec, Layer, ModelSpec
from kernelkit.ops.derivation import Request, derive
from kernelkit.ops.placement import Outcome, place, write


def spec(**changes: object) -> ModelSpec:
    """A small dense model."""
    values: dict[str, object] = {
        "architecture": "LlamaForCausalLM",
        "model_type": "llama",
        "num_layers": 2,
        "hidden_size": 256,
        "vocab_size": 1000,
        "layers": (Layer("attention", "dense"),) * 2,
        "norm_eps": 1e-5,
        "intermediate_size": 512,
        "attention": AttentionSpec(8, 2, 32, 32**-0.5),
    }
    return ModelSpec(**{**values, **changes})


def run(dataset: Dataset, model: ModelSpec, name: str, **options: object) -> list[Outcome]:
    """Derive norms and GEMMs of `model` into the dataset."""
    request = Request(tags=(f"model:{name}",), op_types=("rmsnorm", "gemm"), **options)
    outcomes = list(place(dataset, derive(model, request).variants, refresh=False))
    write(dataset, outcomes)
    return outcomes


def test_first_model_is_new_and_second_run_changes_nothing(dataset: Dataset) -> None:
    names = [outcome.definition.name for outcome in run(dataset, spec(), "one")]
    assert names == ["rmsnorm_h256", "fused_add_rmsnorm_h256", "gemm_n384_k256", "gemm_n256_k256",
                     "gemm_n1024_k256", "gemm_n256_k512"]  # fmt: skip
    before = {path: path.read_bytes() for path in dataset.files("definitions", ".json")}
    assert {outcome.action for outcome in run(dataset, spec(), "one")} == {"unchanged"}
    assert before == {path: path.read_bytes() for path in dataset.files("definitions", ".json")}


def test_second_model_adds_its_tag_and_keeps_a_verified_status(dataset: Dataset) -> None:
    run(dataset, spec(), "one")
    held = dataset.find_definition("gemm_n256_k256")
    held.tags[:] = ["status:verified" if t.startswith("status:") else t for t in held.tags]
    dataset.write_definition(held)
    assert {outcome.action for outcome in run(dataset, spec(), "two")} == {"tagged"}
    assert dataset.find_definition("gemm_n256_k256").tags == [
        "status:verified", "model:one", "model:two",
    ]  # fmt: skip


def test_another_eps_gets_a_definition_of_its_own(dataset: Dataset) -> None:
    run(dataset, spec(), "one")
    for _ in range(2):  # the second time finds the variant
        outcomes = run(dataset, spec(norm_eps=1e-6), "two")
    assert outcomes[0].definition.name == "rmsnorm_h256_eps1e-6"
    assert "existing 1e-05, derived 1e-06" in outcomes[0].note
    assert "EPS = 1e-05" in dataset.find_definition("rmsnorm_h256").reference
    assert "EPS = 1e-06" in dataset.find_definition("rmsnorm_h256_eps1e-6").reference
    assert "model:two" not in dataset.find_definition("rmsnorm_h256").tags


def test_a_differing_definition_is_reported_and_kept(dataset: Dataset) -> None:
    run(dataset, spec(), "one")
    held = dataset.find_definition("gemm_n256_k256")
    held.inputs["A"].dtype = DType.BFLOAT16
    dataset.write_definition(held)
    outcome = next(o for o in run(dataset, spec(), "two") if o.action == "conflict")
    assert outcome.definition.name == "gemm_n256_k256"
    assert "bfloat16" in outcome.differences[0] and "float16" in outcome.differences[0]
    assert dataset.find_definition("gemm_n256_k256").inputs["A"].dtype == "bfloat16"


def test_an_unreadable_file_is_a_conflict_not_a_loss(dataset: Dataset) -> None:
    run(dataset, spec(), "one")
    path = dataset.definition_path(dataset.find_definition("gemm_n256_k256"))
    path.write_text("{ not json")
    outcomes = run(dataset, spec(), "two")
    assert [o.definition.name for o in outcomes if o.action == "conflict"] == ["gemm_n256_k256"]
    assert path.read_text() == "{ not json"


def test_refresh_renews_the_reference_and_drops_the_verified_status(dataset: Dataset) -> None:
    run(dataset, spec(), "one")
    held = dataset.find_definition("gemm_n256_k256")
    held.reference = "def run(A, B):\n    return A @ B.T\n"
    held.tags[:] = ["status:verified", "model:one"]
    dataset.write_definition(held)
    variants = derive(spec(), Request(tags=("model:one",), op_types=("gemm",))).variants
    outcomes = {o.definition.name: o for o in place(dataset, variants, refresh=True)}
    assert outcomes["gemm_n256_k256"].action == "refreshed"
    assert outcomes["gemm_n256_k256"].definition.tags == ["status:unverified", "model:one"]
    assert outcomes["gemm_n384_k256"].action == "unchanged"


def test_a_size_that_does_not_divide_is_skipped_and_named() -> None:
    request = Request(parallel=parallel_grid([1, 3], [1]), op_types=("gqa_ragged",))
    derivation = derive(spec(), request)
    assert [v.definition.name for v in derivation.variants] == [
        "gqa_ragged_prefill_causal_h8_kv2_d32"
    ]
    assert len(derivation.skipped) == 1 and "tp=3" in derivation.skipped[0]


def test_every_configuration_is_tagged() -> None:
    request = Request(parallel=parallel_grid([1, 2, 4], [1]), op_types=("gqa_ragged", "gemm"))
    tags = {v.definition.name: v.definition.tags for v in derive(spec(), request).variants}
    assert "tp:2" in tags["gqa_ragged_prefill_causal_h4_kv1_d32"]
    assert "tp:4" in tags["gqa_ragged_prefill_causal_h2_kv1_d32"]
    assert not any(tag.startswith("tp:") for tag in tags["gemm_n256_k256"])


def test_sharded_gemm_follows_tp() -> None:
    request = Request(parallel=(Parallelism(tp=4),), op_types=("gemm",), shard_gemm=True)
    names = [v.definition.name for v in derive(spec(), request).variants]
    # q 2 heads, k and v one replicated head each: (2 + 2) * 32 columns
    assert names == ["gemm_n128_k256", "gemm_n256_k64", "gemm_n256_k256", "gemm_n256_k128"]


def test_unknown_parallel_division_raises_by_itself() -> None:
    with pytest.raises(UsageError, match="tp among 1, 2, 4, 8"):
        Parallelism(tp=3).heads(8, what="query heads")
