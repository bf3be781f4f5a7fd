"""Derived definitions agree with FlashInfer's trace templates, called on meta tensors.

Needs flashinfer (0.6.12 or 0.7.2.post1 were used); runs without a GPU.
"""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("flashinfer", exc_type=ImportError)

from specs import ALL_SPECS  # noqa: E402

from kernelkit.errors import MissingDependencyError  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.ops import OP_TYPES, crosscheck, family  # noqa: E402
from kernelkit.ops.flashinfer_call import FlashInferCall  # noqa: E402

CASES = [
    variant.definition
    for op_type in OP_TYPES
    for spec in ALL_SPECS
    for variant in family(op_type).derive(spec, Parallelism(), (1, 64))
]
# Derived for no model.
CASES.append(
    family("moe").definition(
        "bf16", None, num_experts=128, top_k=8, hidden_size=2048, intermediate_size=768
    )
)
CASES = list({definition.name: definition for definition in CASES}.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("definition", CASES, ids=lambda definition: definition.name)
def test_template_agrees(definition: object) -> None:
    call = family(definition.op_type).flashinfer_call(definition)
    if call is None:
        pytest.skip("FlashInfer has no trace template for this op")
    try:
        dump = crosscheck.trace(call)
    except MissingDependencyError as error:  # an API that needs more than flashinfer itself
        pytest.skip(str(error))
    comparison = crosscheck.compare(definition, call, dump)
    assert comparison.differences == ()
    assert comparison.compared >= 1


def test_a_wrong_axis_is_seen() -> None:
    op = family("rmsnorm")
    definition = op.definition(4096, 1e-5)
    call: FlashInferCall = op.flashinfer_call(op.definition(2048, 1e-5))
    comparison = crosscheck.compare(definition, call, crosscheck.trace(call))
    assert comparison.differences == ("axis hidden_size: derived 4096, FlashInfer 2048",)
