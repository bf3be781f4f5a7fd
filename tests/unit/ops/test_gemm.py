"""gemm: the layers of MLA and MoE models, and the shapes of one rank."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import DENSE, HYBRID, LATENT, LINEAR, ROUTED  # noqa: E402

from kernelkit.errors import UsageError  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.models.spec import ModelSpec  # noqa: E402
from kernelkit.ops import family  # noqa: E402

OP = family("gemm")


def shapes(spec: ModelSpec, tp: int = 1, *, shard: bool = False) -> list[tuple[int, int]]:
    """(N, K) of the derived definitions, in order."""
    found = OP.derive(spec, Parallelism(tp=tp), (), shard=shard)
    axes = [variant.definition.const_axes for variant in found]
    return [(sizes["N"], sizes["K"]) for sizes in axes]


def test_mla_layers() -> None:
    """DeepSeek-V3: q rank 1536, kv rank 512 and rope 64, 128 heads of 128 + 64 and 128."""
    assert shapes(LATENT) == [
        (1536 + 512 + 64, 7168),
        (128 * (128 + 64), 1536),
        (128 * (128 + 128), 512),
        (7168, 128 * 128),
        (2 * 18432, 7168),
        (7168, 18432),
        (256, 7168),
    ]


def test_moe_router_without_shared_experts() -> None:
    assert shapes(ROUTED) == [(7168, 5120), (5120, 5120), (16, 5120)]


@pytest.mark.parametrize("spec", [DENSE, LATENT, LINEAR, HYBRID], ids=lambda s: s.model_type)
def test_a_shard_divides_one_side_or_none(spec: ModelSpec) -> None:
    whole, half = shapes(spec), shapes(spec, 2, shard=True)
    assert shapes(spec, 2) == whole  # without shard: as published, tensor parallelism 1
    parents = [{(n, k), (n // 2, k), (n, k // 2)} for n, k in whole]
    assert all(any(shape in parent for parent in parents) for shape in half)
    assert sum(n * k for n, k in half) < sum(n * k for n, k in whole)


def test_replicated_layers_are_not_divided() -> None:
    """The router and MLA's down-projection run whole on every rank."""
    assert (256, 7168) in shapes(LATENT, 8, shard=True)
    assert (2112, 7168) in shapes(LATENT, 8, shard=True)


def test_kv_heads_are_replicated_above_their_number() -> None:
    """8 KV heads over 16 ranks: 2 query heads and one copy of a KV head each."""
    assert shapes(DENSE, 16, shard=True)[0] == ((2 + 2 * 1) * 128, 4096)


def test_a_rank_count_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="tp=3"):
        shapes(HYBRID, 3, shard=True)


def test_layers_of_a_hybrid_s_rank() -> None:
    """Nemotron-H at TP 2: attention, Mamba and an MLP without a gate."""
    assert shapes(HYBRID, 2, shard=True) == [
        ((16 + 2 * 4) * 128, 4096),
        (4096, 16 * 128),
        ((2 * 128 * 64 + 2 * 8 * 128 + 128) // 2, 4096),
        (4096, 128 * 64 // 2),
        (21504 // 2, 4096),
        (4096, 21504 // 2),
    ]


def test_layers_of_a_gdn_rank() -> None:
    """Qwen3-Next at TP 2; the router and the shared expert's gate stay whole."""
    found = shapes(LINEAR, 2, shard=True)
    assert ((2 * 16 * 128 + 2 * 32 * 128) // 2, 2048) in found
    assert (32, 2048) in found and (2048, 32 * 128 // 2) in found
    assert (512, 2048) in found and (1, 2048) in found


@pytest.mark.parametrize("rows", [0, 1, 17])
def test_products_stay_near_one(rows: int) -> None:
    definition = OP.definition(33, 257)
    inputs = OP.make_inputs(definition, {"M": rows}, seed=1)
    (product,) = oracle.execute(definition, inputs)
    assert product.shape == (rows, 33) and product.dtype == torch.float16
    assert product.isfinite().all()
    if rows > 1:
        assert 0.8 < float(product.float().std()) < 1.2
