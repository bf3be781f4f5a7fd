"""The cross-check compares what both sides know, and names what is missing."""

from __future__ import annotations

import sys

import pytest

from kernelkit.errors import KernelkitError, MissingDependencyError
from kernelkit.ops import crosscheck, family
from kernelkit.ops.flashinfer_call import FlashInferCall


def test_compare_finds_axes_and_dtypes_that_disagree() -> None:
    definition = family("gemm").definition(512, 256)
    dump = {
        "axes": {"N": {"value": 512}, "K": {"value": 128}, "M": {}},
        "inputs": {"left": {"dtype": "float32"}, "B": {"dtype": "unknown"}},
    }
    call = FlashInferCall("flashinfer.x", {}, aliases={"A": "left"})
    comparison = crosscheck.compare(definition, call, dump)
    assert comparison.compared == 3
    assert comparison.differences == (
        "axis K: derived 256, FlashInfer 128",
        "input A: derived float16, FlashInfer float32",
    )
    allowed = FlashInferCall("flashinfer.x", {}, differs={"K": "why"})
    assert crosscheck.compare(definition, allowed, dump).compared == 1


def test_absent_flashinfer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "flashinfer"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "kernelkit" in p or "scripts" in p])
    with pytest.raises(MissingDependencyError, match="flashinfer-python==0.6.12"):
        crosscheck.trace(FlashInferCall("flashinfer.norm.rmsnorm", {}))


def test_absent_api_is_named() -> None:
    with pytest.raises(KernelkitError, match="no such FlashInfer API|no trace template"):
        crosscheck.trace(FlashInferCall("kernelkit.ops.nothing", {}))
