"""Between the verifier and JSON: recorded inputs, names of dtypes, verdicts."""

from __future__ import annotations

from typing import Any

from kernelkit.bench.judge.lot import Found
from kernelkit.dataset.definition import ITEM_BYTES
from kernelkit.ops.base import torch_dtype


def load(given: dict[str, Any]) -> dict[str, Any]:
    """Recorded tensors and scalars by name."""
    from safetensors.torch import load_file

    return {
        name: source["value"] if "value" in source else load_file(source["path"])[source["key"]]
        for name, source in given.items()
    }


def dtype_names() -> dict[str, str]:
    """The format's names of torch's dtypes."""
    names = [name for name in ITEM_BYTES if name != "float4_e2m1"]
    return {str(torch_dtype(name)): name for name in names}


def document(found: Found) -> dict[str, Any]:
    """A verdict as JSON; infinities as text. `refused`: the number of the first call at fault."""
    verdict = found.verdict
    return {
        "status": verdict.status.value,
        "max_abs": str(verdict.max_abs),
        "max_rel": str(verdict.max_rel),
        "matched_ratio": verdict.matched_ratio,
        "message": verdict.message,
        "refused": found.refused,
        "outputs": {
            name: {"max_abs": str(e.max_abs), "max_rel": str(e.max_rel),
                   "matched_ratio": e.matched_ratio}
            for name, e in verdict.outputs.items()
        },
    }  # fmt: skip
