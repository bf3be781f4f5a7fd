"""gemm, rmsnorm and rope: wrong kernels are refused at every size, right ones pass."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from mutants.pointwise import (  # noqa: E402
    GEMM_FLAWS,
    RMSNORM_FLAWS,
    ROPE_FLAWS,
    gemm,
    rmsnorm,
    rope,
)
from mutants.trials import assert_passes, refused  # noqa: E402

from kernelkit.ops import family  # noqa: E402

GEMMS = [(48, 256, 1), (48, 256, 7), (128, 16384, 1), (128, 16384, 24), (1, 4096, 2)]
NORMS = [(h, rows) for h in (128, 4096) for rows in (1, 3, 64)]
FORMS = [(fused, gemma) for fused in (False, True) for gemma in (False, True)]


@pytest.mark.parametrize(("n", "k", "m"), GEMMS)
def test_gemm(n: int, k: int, m: int) -> None:
    definition, axes = family("gemm").definition(n, k), {"M": m}
    missed = [
        name
        for name, flaw in GEMM_FLAWS.items()
        if (n > 1 or "shift" not in flaw) and not refused(definition, axes, gemm(**flaw))
    ]
    # Half a percent of two elements is less than what any element may be off.
    assert missed == (["times 1.005"] if n == 1 else [])
    assert_passes(definition, axes, gemm())
    assert_passes(definition, axes, gemm(split=8))


def test_gemm_sums_in_float16() -> None:
    definition, axes = family("gemm").definition(128, 16384), {"M": 1}
    for step in (8, 16, 32):
        assert refused(definition, axes, gemm(half=step))


@pytest.mark.parametrize(("fused", "gemma"), FORMS)
@pytest.mark.parametrize(("hidden", "rows"), NORMS)
def test_rmsnorm(hidden: int, rows: int, fused: bool, gemma: bool) -> None:
    definition = family("rmsnorm").definition(hidden, 1e-6, fused=fused, gemma=gemma)
    axes = {"batch_size": rows}
    flaws = RMSNORM_FLAWS | ({"residual ignored": {"residual": False}} if fused else {})
    missed = [
        name
        for name, flaw in flaws.items()
        if (hidden < 4096 or "count" not in flaw)  # 30 of 4096 is less than a rounding
        and not refused(definition, axes, rmsnorm(definition, **flaw))
    ]
    assert not missed
    assert_passes(definition, axes, rmsnorm(definition))
    assert_passes(definition, axes, rmsnorm(definition, twice=True))


@pytest.mark.parametrize("tokens", [1, 5, 4096])
def test_rope(tokens: int) -> None:
    definition = family("rope").definition(128, 64)
    axes = {"num_tokens": tokens, "num_qo_heads": 4, "num_kv_heads": 1, "max_seq_len": 8192}
    missed = [
        name for name, flaw in ROPE_FLAWS.items() if not refused(definition, axes, rope(**flaw))
    ]
    assert not missed
    assert_passes(definition, axes, rope())
