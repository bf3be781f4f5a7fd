"""Fresh contents and probes: valid inputs of the same shapes, other contents, nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.ops import family, probing  # noqa: E402
from kernelkit.ops.base import generator  # noqa: E402

Inputs = dict[str, Any]


def _definitions() -> list[Definition]:
    paged, latent, moe = family("gqa_paged"), family("mla_paged"), family("moe")
    sizes = {"num_experts": 8, "top_k": 2, "hidden_size": 256, "intermediate_size": 128}
    return [
        family("rmsnorm").definition(64, 1e-6),
        family("rmsnorm").definition(64, 1e-5, fused=True, gemma=True),
        family("gemm").definition(48, 96),
        *(paged.definition(4, 2, 32, size, prefill=p) for size in (1, 16) for p in (False, True)),
        family("gqa_ragged").definition(4, 2, 32),
        *(latent.definition(2, 64, 32, size, prefill=p) for size in (1, 16) for p in (False, True)),
        family("mla_ragged").definition(2, 48, 32),
        family("dsa_paged").sparse(2, 64, 32, 8, 4),
        family("dsa_paged").indexer(4, 32, 64),
        *(family("gdn").definition(2, 4, 32, stage=s) for s in ("decode", "mtp", "prefill")),
        family("mamba_ssu").definition(4, 16, 32, 2),
        moe.definition("fp8_block", "ds", n_group=4, topk_group=2, **sizes),
        moe.definition("fp8_per_tensor", "renorm", **sizes),
        moe.definition("fp4_block", "llama4", **{**sizes, "top_k": 1}),
        moe.definition("fp4_routed", None, **sizes),
        moe.definition("bf16", None, **sizes),
        family("rope").definition(64, 32),
        *(family("sampling").definition(kind, 100) for kind in ("top_k", "top_p", "top_k_top_p")),
    ]


DEFINITIONS = {definition.name: definition for definition in _definitions()}
every = pytest.mark.parametrize("name", DEFINITIONS)


def _made(name: str) -> tuple[Definition, Inputs]:
    definition = DEFINITIONS[name]
    op = family(definition.op_type)
    return definition, op.make_inputs(definition, op.small_axes(definition), seed=1)


def _bits(value: Any) -> Any:
    return value.contiguous().view(torch.uint8) if value.dim() else value


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor):
        return one == other
    return torch.equal(_bits(one), _bits(other))


def _varied(definition: Definition, inputs: Inputs, seed: int = 0) -> list[tuple[str, Inputs]]:
    op, rng = family(definition.op_type), generator(seed, "x")
    return [("vary", op.vary(definition, inputs, rng)), *op.probes(definition, inputs, rng)]


def _variants(name: str, seed: int = 0) -> list[tuple[str, Inputs]]:
    return _varied(*_made(name), seed)


@every
def test_the_same_shapes_and_nothing_changed(name: str) -> None:
    definition, inputs = _made(name)
    copies = {n: v.clone() if isinstance(v, torch.Tensor) else v for n, v in inputs.items()}
    for what, found in _varied(definition, inputs):
        assert list(found) == list(definition.inputs), what
        for key, value in found.items():
            if isinstance(value, torch.Tensor):
                assert (value.shape, value.dtype) == (inputs[key].shape, inputs[key].dtype), key
                assert value.is_contiguous(), (what, key)
            else:
                assert value == inputs[key]
    assert all(_same(value, inputs[key]) for key, value in copies.items())


@every
def test_a_seed_decides(name: str) -> None:
    for (what, one), (_, two) in zip(_variants(name), _variants(name), strict=True):
        assert all(_same(value, two[key]) for key, value in one.items()), what


@every
def test_references_take_them(name: str) -> None:
    """No output is NaN, and values are infinite in log-sum-exps alone."""
    definition = DEFINITIONS[name]
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    for what, inputs in _variants(name):
        result = namespace["run"](*inputs.values())
        result = result if isinstance(result, tuple) else (result,)
        for output, value in zip(definition.outputs, result, strict=True):
            assert not value.float().isnan().any(), (what, output)
            assert output == "lse" or value.float().isfinite().all(), (what, output)


@every
def test_varied_values_are_the_same_values_elsewhere(name: str) -> None:
    definition, inputs = _made(name)
    op, rng = family(definition.op_type), generator(3, "x")
    first, second = (op.vary(definition, inputs, rng) for _ in range(2))
    for key, value in inputs.items():
        if probing.is_values(value) and value.float().unique().numel() > 3:
            assert not _same(first[key], value), key
            if key == "probs":  # mixed rows are brought to a sum of one
                assert torch.allclose(first[key].sum(1), torch.ones(len(value))), key
            elif definition.op_type == "gemm":  # mixed
                assert torch.isin(first[key].float(), value.float()).all(), key
            else:
                values = (x.float().flatten().sort().values for x in (first[key], value))
                assert torch.equal(*values), key
    assert not all(_same(first[key], second[key]) for key in inputs)


@every
def test_indices_stay_where_they_are_asked_to(name: str) -> None:
    definition, inputs = _made(name)
    found = family(definition.op_type).vary(definition, inputs, generator(0, "x"), indices=False)
    if definition.op_type == "sampling":
        return  # top_k belongs to its row of probabilities
    for key, value in inputs.items():
        if isinstance(value, torch.Tensor) and not value.is_floating_point():
            assert key == "k_index_cache_fp8" or _same(found[key], value), key


PAGED = [name for name, d in DEFINITIONS.items() if "kv_indptr" in d.inputs]


@pytest.mark.parametrize("name", PAGED)
def test_tables_stay_valid(name: str) -> None:
    definition, inputs = _made(name)
    moved = False
    for what, found in _variants(name, seed=2):
        for key in ("qo_indptr", "kv_indptr"):
            if key in found:
                counts = torch.diff(found[key])
                assert (counts >= 0).all() and found[key][-1] == inputs[key][-1], what
                moved |= what == "vary" and not _same(found[key], inputs[key])
        if "kv_indices" in found:
            cache = found["k_cache"] if "k_cache" in found else found["ckv_cache"]
            ids = found["kv_indices"]
            assert ids.unique().numel() == ids.numel()
            assert ids.min() >= 0 and ids.max() < len(cache)
        if "kv_last_page_len" in found:
            last, pages = found["kv_last_page_len"], torch.diff(found["kv_indptr"])
            assert ((last >= 1) == (pages > 0)).all() and last.max() <= 16
        if "qo_indptr" in found and what != "empty":
            assert (_lengths(definition, found) >= torch.diff(found["qo_indptr"])).all(), what
    assert moved


def _lengths(definition: Definition, inputs: Inputs) -> torch.Tensor:
    pages = torch.diff(inputs["kv_indptr"])
    if "kv_last_page_len" not in inputs:
        return pages
    full = (pages - 1) * definition.const_axes["page_size"] + inputs["kv_last_page_len"]
    return full.where(pages > 0, 0)


@pytest.mark.parametrize("name", PAGED)
def test_a_probe_has_an_empty_request(name: str) -> None:
    found = dict(_variants(name))["empty"]
    assert (torch.diff(found["kv_indptr"]) == 0).any()


def test_probabilities_stay_probabilities() -> None:
    for _, found in _variants("top_k_top_p_sampling_from_probs_v100"):
        torch.testing.assert_close(found["probs"].sum(dim=1), torch.ones(2))
        assert (found["top_k"] >= 1).all() and (found["top_p"] > 0).all()


def test_a_cosine_keeps_its_sine() -> None:
    definition, inputs = _made("rope_with_cos_sin_cache_neox_style_d64_rd32")
    found = family("rope").vary(definition, inputs, generator(0, "x"))["cos_sin_cache"]
    cos, sin = found.chunk(2, dim=1)
    torch.testing.assert_close(cos.square() + sin.square(), torch.ones(16, 16))


def test_values_of_a_head_stay_equal() -> None:
    for what, found in _variants("mamba_ssu_decode_h4_d16_s32_ng2"):
        for name, axes in (("A", (1, 2)), ("dt", (2,)), ("D", (1,)), ("dt_bias", (1,))):
            value = found[name].float()
            assert torch.equal(value.amax(axes), value.amin(axes)), (what, name)


def test_rows_of_unit_norm_stay_so() -> None:
    definition, inputs = _made("gdn_prefill_qk2_v4_d32_k_last")
    found = family("gdn").vary(definition, inputs, generator(0, "x"))
    assert (found["q"].float().norm(dim=-1) - 1).abs().max() < 1e-2


def test_a_tokens_experts_stay_distinct() -> None:
    name = next(name for name in DEFINITIONS if "routed" in name)
    for what, found in _variants(name):
        experts = found["topk_ids"] >> 16
        assert all(len(set(row)) == 2 for row in experts.tolist()), what
        weights = (found["topk_ids"] << 16).view(torch.float32)
        torch.testing.assert_close(weights.sum(1), torch.ones(5), atol=1e-2, rtol=0)


def test_pages_of_the_indexer_stay_whole() -> None:
    definition, inputs = _made("dsa_topk_indexer_fp8_h4_d32_topk64_ps64")
    found = family("dsa_paged").vary(definition, inputs, generator(0, "x"))
    pages = [x["k_index_cache_fp8"].flatten(1) for x in (inputs, found)]
    assert {bytes(p.numpy()) for p in pages[0]} == {bytes(p.numpy()) for p in pages[1]}


EMPTY = {
    "rmsnorm_h64": {"batch_size": 0},
    "gemm_n48_k96": {"M": 0},
    "gqa_paged_decode_h4_kv2_d32_ps1": {
        "batch_size": 0, "len_indptr": 1, "num_kv_indices": 0, "num_pages": 0},
    "gqa_paged_decode_h4_kv2_d32_ps16": {
        "batch_size": 2, "len_indptr": 3, "num_kv_indices": 0, "num_pages": 1},
    "gqa_ragged_prefill_causal_h4_kv2_d32": {"len_indptr": 1, "total_q": 0, "total_kv": 0},
    "mla_paged_prefill_causal_h2_ckv64_kpe32_ps1": {
        "len_indptr": 2, "total_q": 0, "num_kv_indices": 0, "num_pages": 1},
    "dsa_sparse_attention_h2_ckv64_kpe32_topk8_ps4": {"num_tokens": 0, "num_pages": 1},
    "gdn_prefill_qk2_v4_d32_k_last": {"total_seq_len": 0, "num_seqs": 0, "len_cu_seqlens": 1},
    "mamba_ssu_decode_h4_d16_s32_ng2": {"batch_size": 0, "state_cache_size": 1},
    "rope_with_cos_sin_cache_neox_style_d64_rd32": {
        "num_tokens": 0, "num_qo_heads": 1, "num_kv_heads": 1, "max_seq_len": 1},
    "top_k_sampling_from_probs_v100": {"batch_size": 0},
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_has_probes_too(name: str) -> None:
    definition = DEFINITIONS[name]
    inputs = family(definition.op_type).make_inputs(definition, EMPTY[name], seed=1)
    for what, found in _varied(definition, inputs):
        for key, value in found.items():
            assert getattr(value, "shape", None) == getattr(inputs[key], "shape", None), (what, key)


def test_a_state_may_be_left_out() -> None:
    definition, inputs = _made("gdn_decode_qk2_v4_d32_k_last")
    inputs["state"] = None
    found = [x for _, x in _varied(definition, inputs)]
    assert all(x["state"] is None and not _same(x["v"], inputs["v"]) for x in found)
