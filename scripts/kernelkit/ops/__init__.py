"""The op families, by op type. One module each: the single place of a family's knowledge."""

from __future__ import annotations

from importlib import import_module

from kernelkit.errors import UsageError
from kernelkit.ops.base import OpFamily

OP_TYPES = (
    "rmsnorm",
    "gemm",
    "gqa_paged",
    "gqa_ragged",
    "mla_paged",
    "mla_ragged",
    "dsa_paged",
    "gdn",
    "mamba_ssu",
    "moe",
    "rope",
    "sampling",
)


def family(op_type: str) -> OpFamily:
    """The family of an op type. Raises UsageError for one that is not known."""
    if op_type not in (*OP_TYPES, "generic"):
        raise UsageError("no such op type", received=op_type, allowed=", ".join(OP_TYPES))
    return import_module(f"kernelkit.ops.{op_type}").FAMILY


def family_or_generic(op_type: str) -> OpFamily:
    """The family of an op type; for one that is not known, what shapes and dtypes tell."""
    return family(op_type if op_type in OP_TYPES else "generic")
