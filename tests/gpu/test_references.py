"""On a CUDA device every reference gives what it gives on the CPU, from the same seed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "ops"))

from specs import ALL_SPECS  # noqa: E402

from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.ops import OP_TYPES, family  # noqa: E402

pytestmark = pytest.mark.gpu

MOST_BYTES = 4 << 30  # a MoE of 256 real experts does not fit a test
CASES = {
    variant.definition.name: variant.definition
    for op_type in OP_TYPES
    for spec in ALL_SPECS
    for variant in family(op_type).derive(spec, Parallelism(tp=2, ep=8), (1, 64))
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_cuda_agrees_with_cpu(name: str) -> None:
    definition = CASES[name]
    op = family(definition.op_type)
    axes = op.small_axes(definition)
    if op.cost(definition, axes).bytes_moved > MOST_BYTES:
        pytest.skip("too large for a test")
    here = op.make_inputs(definition, axes, seed=7)
    there = op.make_inputs(definition, axes, seed=7, device="cuda")
    for key, value in here.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value.view(torch.uint8), there[key].cpu().view(torch.uint8)), key
    namespace: dict[str, object] = {}
    exec(definition.reference, namespace)
    tolerance = op.tolerance(definition)
    wants, gots = namespace["run"](*here.values()), namespace["run"](*there.values())
    wants, gots = ((x if isinstance(x, (tuple, list)) else (x,)) for x in (wants, gots))
    assert len(wants) == len(gots) == len(definition.outputs)
    for want, got in zip(wants, gots, strict=True):
        assert got.is_cuda and got.shape == want.shape and got.dtype == want.dtype
        if not tolerance.samples:
            close = torch.isclose(
                got.cpu().float(), want.float(), atol=tolerance.atol, rtol=tolerance.rtol
            )
            assert close.float().mean() >= tolerance.matched_ratio
