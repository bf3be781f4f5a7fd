"""rmsnorm, rope and gemm: references by hand, eps, layers of a model, sharding."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import DENSE, HYBRID, LATENT, LINEAR  # noqa: E402

from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.models.spec import ModelSpec, Quantization  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.ops.rmsnorm import read_eps  # noqa: E402

NORM, ROPE, GEMM = family("rmsnorm"), family("rope"), family("gemm")


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("gemma", [False, True])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_rmsnorm(size: int, fused: bool, gemma: bool) -> None:
    definition = NORM.definition(size, 1e-3, fused=fused, gemma=gemma)
    inputs = NORM.make_inputs(definition, {"batch_size": 4}, seed=1)
    (got,) = oracle.execute(definition, inputs)
    for row in range(4):
        x = inputs["hidden_states"][row].double()
        if fused:
            x = x + inputs["residual"][row].double()
        norm = math.sqrt(float((x * x).sum()) / size + 1e-3)
        want = x / norm * (inputs["weight"].double() + (1.0 if gemma else 0.0))
        torch.testing.assert_close(got[row].double(), want, atol=1e-3, rtol=5e-3)


def test_rmsnorm_of_zeros_and_of_huge_values() -> None:
    definition = NORM.definition(8, 1e-6)
    rows = torch.stack([torch.zeros(8), torch.full((8,), 1e18)]).bfloat16()
    (got,) = oracle.execute(definition, {"hidden_states": rows, "weight": torch.ones(8).bfloat16()})
    assert (got[0] == 0).all()
    torch.testing.assert_close(got[1].float(), torch.ones(8), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("text", "eps"),
    [
        ("def run(x, w):\n    EPS = 1e-5\n    return x", 1e-5),
        ("eps = 1e-06\ndef run(x, w):\n    return x", 1e-6),
        ("def run(x, w):\n    return x * (x.pow(2).mean(-1) + 1e-5) ** -0.5", 1e-5),
        ("def run(x, w):\n    return x", None),
    ],
)
def test_eps_is_read_from_other_texts(text: str, eps: float | None) -> None:
    assert read_eps(text) == eps


def test_eps_names_the_variant() -> None:
    assert NORM.variant(4096, 1e-5, fused=False, gemma=False).fallback_name == (
        "rmsnorm_h4096_eps1e-5"
    )
    assert NORM.variant(64, 1e-6, fused=True, gemma=True).fallback_name == (
        "gemma_fused_add_rmsnorm_h64_eps1e-6"
    )


def names(op_type: str, spec: ModelSpec, **options: object) -> list[str]:
    """Derived names at TP 1."""
    found = family(op_type).derive(spec, Parallelism(), (1,), **options)
    return [v.definition.name for v in found]


def test_norms_of_models() -> None:
    assert names("rmsnorm", DENSE) == [
        "rmsnorm_h4096", "fused_add_rmsnorm_h4096", "rmsnorm_h128"]  # fmt: skip
    assert names("rmsnorm", LATENT) == [
        "rmsnorm_h7168", "fused_add_rmsnorm_h7168", "rmsnorm_h1536", "rmsnorm_h512"]  # fmt: skip
    assert names("rmsnorm", LINEAR) == [
        "gemma_rmsnorm_h2048", "gemma_fused_add_rmsnorm_h2048", "gemma_rmsnorm_h256"]  # fmt: skip


@pytest.mark.parametrize("neox", [True, False])
def test_rope(neox: bool) -> None:
    definition = ROPE.definition(16, 8, neox=neox)
    axes = {"num_tokens": 6, "num_qo_heads": 3, "num_kv_heads": 1, "max_seq_len": 50}
    inputs = ROPE.make_inputs(definition, axes, seed=1)
    outputs = oracle.execute(definition, inputs)
    for name, got in zip(("q", "k"), outputs, strict=True):
        want = inputs[name].double().clone()
        for token in range(6):
            row = inputs["cos_sin_cache"][inputs["positions"][token]].double()
            for i in range(4):
                one, two = (i, i + 4) if neox else (2 * i, 2 * i + 1)
                x, y = (inputs[name][token, :, j].double() for j in (one, two))
                want[token, :, one] = x * row[i] - y * row[i + 4]
                want[token, :, two] = y * row[i] + x * row[i + 4]
        torch.testing.assert_close(got.double(), want, atol=1e-2, rtol=8e-3)
        assert torch.equal(got[..., 8:], inputs[name][..., 8:])


def test_rope_is_derived_for_partial_rotary_only() -> None:
    assert names("rope", LINEAR) == ["rope_with_cos_sin_cache_neox_style_d256_rd64"]
    assert names("rope", DENSE) == names("rope", LATENT) == []


def test_gemm() -> None:
    definition = GEMM.definition(5, 7)
    inputs = GEMM.make_inputs(definition, {"M": 3}, seed=1)
    (got,) = oracle.execute(definition, inputs)
    want = inputs["A"].double() @ inputs["B"].double().T
    torch.testing.assert_close(got.double(), want, atol=2e-3, rtol=2e-3)
    cost = GEMM.cost(definition, {"M": 3})
    assert (cost.flops, cost.bytes_moved) == (2 * 3 * 5 * 7, 2 * (3 * 7 + 5 * 7 + 3 * 5))


def test_gemms_of_models() -> None:
    assert names("gemm", DENSE) == [
        "gemm_n6144_k4096", "gemm_n4096_k4096", "gemm_n28672_k4096",
        "gemm_n4096_k14336"]  # fmt: skip
    assert names("gemm", LINEAR) == [
        "gemm_n9216_k2048", "gemm_n2048_k4096",  # q with its gate, k, v; output
        "gemm_n12288_k2048", "gemm_n64_k2048",  # GDN q, k, v, gate; beta and decay
        "gemm_n512_k2048", "gemm_n1024_k2048", "gemm_n2048_k512",  # router, shared expert
        "gemm_n1_k2048"]  # fmt: skip
    assert names("gemm", HYBRID) == [
        "gemm_n6144_k4096", "gemm_n4096_k4096", "gemm_n18560_k4096", "gemm_n4096_k8192",
        "gemm_n21504_k4096", "gemm_n4096_k21504"]  # fmt: skip


def test_quantized_layers_are_no_16_bit_gemms() -> None:
    from dataclasses import replace

    quantized = replace(LATENT, quantization=Quantization("fp8_block", True, True, (128, 128)))
    assert names("gemm", quantized) == ["gemm_n256_k7168"]
    assert len(names("gemm", LATENT)) > 5


def test_the_same_seed_gives_the_same_inputs() -> None:
    definition = NORM.definition(16, 1e-6, fused=True)
    one, two, other = (
        NORM.make_inputs(definition, {"batch_size": 2}, seed=s)["residual"] for s in (1, 1, 2)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)
    given = NORM.make_inputs(definition, {"batch_size": 2}, seed=1, given={"weight": one})
    assert given["weight"] is one and torch.equal(given["residual"], two)
