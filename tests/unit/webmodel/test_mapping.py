"""Definitions and modules: which belong together, and what a dataset has of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kernelkit.dataset.definition import DType
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError
from kernelkit.models.load import Model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import family
from kernelkit.ops.derivation import Request, derive
from kernelkit.webmodel.generate import Generated, Wanted, generate
from kernelkit.webmodel.mapping import Sizes, choose_sizes, keys_of

ModelOf = Callable[[str], Model]
ONE = Sizes((Parallelism(),))


def _fill(dataset: Dataset, model: Model, *parallel: Parallelism, leave: str = "!") -> list[str]:
    names = []
    for variant in derive(model.spec, Request(parallel=parallel or (Parallelism(),))).variants:
        if not variant.definition.name.startswith(leave):
            dataset.write_definition(variant.definition)
            names.append(variant.definition.name)
    return names


def _missing(made: Generated) -> list[str]:
    return [row["definition"] for row in made.report["missing"]]


def test_only_what_the_dataset_has_is_named(model_of: ModelOf, dataset: Dataset) -> None:
    model = model_of("Llama-3.1-8B")
    held = _fill(dataset, model, leave="gqa_paged_decode")
    made = generate(model, Wanted(ONE, dataset=dataset))
    assert sorted(made.entry.definitions()) == sorted(held)
    assert _missing(made) == [
        "gqa_paged_decode_h32_kv8_d128_ps1", "gqa_paged_decode_h32_kv8_d128_ps64"]  # fmt: skip
    rows = {(r["module"], r["definition"]): r["status"] for r in made.report["mappings"]}
    assert rows["attn", "gqa_paged_decode_h32_kv8_d128_ps1"] == "missing"
    assert rows["qkv_proj", "gemm_n6144_k4096"] == "in_dataset"


def test_missing_ones_on_request(model_of: ModelOf, dataset: Dataset) -> None:
    model = model_of("Llama-3.1-8B")
    made = generate(model, Wanted(ONE, dataset=dataset, keep_missing=True))
    assert made.entry.modules["qkv_proj"].definitions == ("gemm_n6144_k4096",)
    assert len(_missing(made)) == len(made.candidates.found)


def test_without_a_dataset_nothing_is_called_missing(model_of: ModelOf) -> None:
    made = generate(model_of("Llama-3.1-8B"), Wanted(ONE))
    assert made.report["missing"] is None
    assert {row["status"] for row in made.report["mappings"]} == {"not_checked"}


def test_a_definition_that_differs_is_not_named(model_of: ModelOf, dataset: Dataset) -> None:
    model = model_of("Llama-3.1-8B")
    _fill(dataset, model)
    wrong = family("gemm").definition(6144, 4096)  # type: ignore[attr-defined]
    wrong.inputs["A"] = wrong.inputs["A"].model_copy(update={"dtype": DType.FLOAT32})
    dataset.write_definition(wrong)
    made = generate(model, Wanted(ONE, dataset=dataset))
    assert made.entry.modules["qkv_proj"].definitions == ()
    row = next(r for r in made.report["missing"] if r["definition"] == "gemm_n6144_k4096")
    assert row["status"] == "differs"
    assert "float32" in row["differences"][0]


def test_a_variant_is_named_by_its_own_name(model_of: ModelOf, dataset: Dataset) -> None:
    """rmsnorm_h4096 with another epsilon is another kernel."""
    model = model_of("Llama-3.1-8B")
    norms = family("rmsnorm")
    dataset.write_definition(norms.definition(4096, 1e-6))  # type: ignore[attr-defined]
    made = generate(model, Wanted(ONE, dataset=dataset, keep_missing=True))
    assert made.entry.modules["input_layernorm"].definitions[0] == "rmsnorm_h4096_eps1e-5"


def test_usual_sizes_find_what_is_there(model_of: ModelOf, dataset: Dataset) -> None:
    model = model_of("DeepSeek-V3")
    _fill(dataset, model, Parallelism(tp=8, ep=8), leave="mla_ragged")
    sizes = choose_sizes(model, None, None, [1, 64], None, searching=True)
    assert not sizes.chosen
    made = generate(model, Wanted(sizes, dataset=dataset))
    assert "mla_paged_decode_h16_ckv512_kpe64_ps1" in made.entry.modules["attn_mla"].definitions
    # One size of a kernel is enough; of mla_ragged there is none.
    assert _missing(made) and all(name.startswith("mla_ragged") for name in _missing(made))
    chosen = choose_sizes(model, [8], [8], [1], None, searching=True)
    assert chosen.chosen
    assert _missing(generate(model, Wanted(chosen, dataset=dataset))) == [
        "mla_ragged_prefill_causal_h16_qk192_vo128"
    ]


def test_a_size_that_does_not_divide_is_said(model_of: ModelOf) -> None:
    made = generate(model_of("Llama-3.1-8B"), Wanted(Sizes((Parallelism(tp=3),))))
    assert any("tp=3" in text for text in made.report["warnings"])


def test_every_op_type_has_a_module() -> None:
    from kernelkit.ops import OP_TYPES

    for op_type in OP_TYPES:
        assert _any_definition(op_type), op_type
        assert all(keys_of(d) for d in _any_definition(op_type)), op_type


def _any_definition(op_type: str) -> list:  # type: ignore[type-arg]
    import json

    from kernelkit.models.config import parse_config

    found = []
    folder = Path(__file__).resolve().parents[2] / "fixtures" / "configs"
    for path in sorted(folder.glob("*.json")):
        spec = parse_config(json.loads(path.read_bytes()))
        request = Request(op_types=(op_type,))
        found += [variant.definition for variant in derive(spec, request).variants]
    return found


def test_a_cookbook_needs_a_repository(model_of: ModelOf, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cookbook"):
        choose_sizes(model_of("Llama-3.1-8B"), None, None, [1], tmp_path, searching=False)
