"""gdn and mamba_ssu: wrong kernels are refused at every size, right ones pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from mutants.recurrent import GDN_FLAWS, LONG_GDN_FLAWS, SSU_FLAWS, Delta, Ssu  # noqa: E402
from mutants.trials import assert_passes, refused  # noqa: E402

from kernelkit.ops import family  # noqa: E402

GDN = {
    ("decode", "small"): {"batch_size": 3},
    ("decode", "large"): {"batch_size": 64},
    ("mtp", "small"): {"batch_size": 3, "seq_len": 2, "pool_size": 5},
    ("mtp", "large"): {"batch_size": 32, "seq_len": 4, "pool_size": 40},
    ("prefill", "small"): {"total_seq_len": 9, "num_seqs": 3, "len_cu_seqlens": 4},
    ("prefill", "large"): {"total_seq_len": 1024, "num_seqs": 1, "len_cu_seqlens": 2},
}
SSU = [(1, 3), (2, 3), (64, 80)]


@pytest.mark.parametrize(("stage", "size"), GDN)
def test_gdn(stage: str, size: str) -> None:
    definition, axes = family("gdn").definition(2, 4, 64, stage=stage), GDN[stage, size]
    flaws: dict[str, dict[str, Any]] = dict(GDN_FLAWS)
    if stage == "prefill":
        flaws |= LONG_GDN_FLAWS
    if size == "small":
        flaws.pop("state lost between chunks", None)  # there is one chunk
    if (stage, size) == ("prefill", "large"):
        flaws.pop("state of the next request")  # there is one request
    missed = [
        name
        for name, flaw in flaws.items()
        if not refused(definition, axes, Delta(definition, **flaw))
    ]
    assert not missed
    assert_passes(definition, axes, Delta(definition))
    if stage == "prefill":
        assert_passes(definition, axes, Delta(definition, chunked=True))


@pytest.mark.parametrize("state", ["bfloat16", "float32"])
@pytest.mark.parametrize(("requests", "slots"), SSU)
def test_mamba_ssu(requests: int, slots: int, state: str) -> None:
    definition = family("mamba_ssu").definition(8, 32, 64, 2, state_dtype=state)
    axes = {"batch_size": requests, "state_cache_size": slots}
    missed = [
        name
        for name, flaw in SSU_FLAWS.items()
        if not refused(definition, axes, Ssu(definition, **flaw))
    ]
    assert not missed
    assert_passes(definition, axes, Ssu(definition))
