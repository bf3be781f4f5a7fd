"""moe: wrong kernels are refused at every size, right ones pass with their low bits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))

from mutants.experts import Experts, flaws  # noqa: E402
from mutants.trials import assert_passes, refused  # noqa: E402

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.ops import family  # noqa: E402

KINDS = [
    ("fp8_block", "ds"),
    ("fp8_block", "renorm"),
    ("fp8_block", "default"),
    ("fp8_block", "topk"),
    ("fp8_per_tensor", "renorm"),
    ("fp8_per_tensor", "llama4"),
    ("fp4_block", "renorm"),
    ("fp4_block", "llama4"),
    ("fp4_routed", None),
    ("bf16", None),
]
SIZES = {"small": ({"seq_len": 5}, 16, 4), "large": ({"seq_len": 128}, 32, 8)}


def _definition(kind: str, routing: str | None, size: str) -> Definition:
    experts, top_k = SIZES[size][1:]
    return family("moe").definition(
        kind,
        routing,
        num_experts=experts,
        top_k=1 if routing == "llama4" else top_k,
        hidden_size=256,
        intermediate_size=128,
        **({"n_group": 4, "topk_group": 2} if routing == "ds" else {}),
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "routing"), KINDS)
def test_moe(kind: str, routing: str | None, size: str) -> None:
    definition, axes = _definition(kind, routing, size), SIZES[size][0]
    missed = [
        name
        for name, flaw in flaws(definition).items()
        if not refused(definition, axes, Experts(definition, **flaw))
    ]
    assert not missed
    assert_passes(definition, axes, Experts(definition))
    assert_passes(definition, axes, Experts(definition, low_bits=True))
