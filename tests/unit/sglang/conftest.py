"""What the tests share: the made-up tree, and the real ones where they are at hand.

KERNELKIT_SGLANG_TREES names a folder with one unpacked SGLang wheel for each version, e.g.
`trees/0.5.14/sglang/srt/...` and `trees/0.5.23/sglang/srt/...` (pip download --no-deps sglang==X,
then unzip into a folder of that name). Tests of the real trees are skipped visibly without it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernelkit.models.spec import AttentionSpec, Layer, ModelSpec, MoeSpec
from kernelkit.sglang.tree import SglangTree, locate

MADE_UP = Path(__file__).resolve().parents[2] / "fixtures" / "sglang_tree"


@pytest.fixture
def made_up() -> SglangTree:
    """A small tree with SGLang's layout, names of its contract, and made-up models."""
    return locate(MADE_UP)


@pytest.fixture
def tiny_moe() -> ModelSpec:
    """The made-up MoE model: one dense layer, three with experts."""
    return ModelSpec(
        "TinyMoeForCausalLM", "tiny_moe", 4, 64, 100,
        (Layer("attention", "dense"), *[Layer("attention", "moe")] * 3),
        norm_eps=1e-5, intermediate_size=96, attention=AttentionSpec(8, 2, 16, 0.25),
        moe=MoeSpec(6, 2, 32, "renorm"),
    )  # fmt: skip


@pytest.fixture(params=["0.5.14", "0.5.23"])
def real(request: pytest.FixtureRequest) -> SglangTree:
    """A real tree of each version; skips without KERNELKIT_SGLANG_TREES."""
    folder = os.environ.get("KERNELKIT_SGLANG_TREES")
    path = Path(folder or "", request.param)
    if not folder or not (path / "sglang" / "srt").is_dir():
        pytest.skip(f"KERNELKIT_SGLANG_TREES does not name a folder with {request.param}/sglang")
    return locate(path)
